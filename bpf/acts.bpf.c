// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The security events that are a few numbers, another process and a name or two: what one
 * process does to another, namespaces, memory that is executed, doors into the kernel.
 * Part of the security monitor.
 */
#include "common.bpf.h"
#include "calls.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* By the number in the caller's pid namespace (6.14), in the initial one (6.2). */
extern struct task_struct *bpf_task_from_vpid(__s32 vpid) __ksym __weak;
extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;

/* Its namespaces are the initial ones for sure, and it never ends. */
#define KTHREADD_PID 2
/* Of a frequent and harmless kind the same again within one image is left out. */
#define MEMORY_ACTS 4096

/* One program that makes memory executable, in one way. */
struct memory_act {
	__u32 tgid;
	__u32 exec_id;
	__u32 syscall;
	__u32 how;
};

/* What just-in-time compilers do all day is told once per image; the least used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MEMORY_ACTS);
	__type(key, struct memory_act);
	__type(value, __u8);
} memory_acts SEC(".maps");

MONITOR int target__fill(struct ravn_target *out, struct task_struct *target)
{
	if (!out || !target)
		return 0;
	out->start_ns = target->group_leader->start_boottime;
	out->tgid = target->tgid;
	out->pid = target->pid;
	out->uid = target->real_cred->uid.val;
	__builtin_memcpy(out->comm, target->comm, sizeof(out->comm));
	return 0;
}

/* The process of a number that the caller gave. Where the kernel cannot look it up for
 * us it stays empty, and the number as given is all there is. */
static __noinline int target__find(struct ravn_target *out, struct task_struct *task, __s32 pid)
{
	struct task_struct *found = NULL;

	if (pid <= 0 || !out)
		return 0;
	if (bpf_task_from_vpid)
		found = bpf_task_from_vpid(pid);
	else if (bpf_task_from_pid && task->thread_pid->level == 0)
		found = bpf_task_from_pid(pid);
	if (!found)
		return 0;
	target__fill(out, found);
	bpf_task_release(found);
	return 0;
}

static __always_inline struct ravn_act *act__begin(struct cpu_state *s, struct task_struct *task,
						   struct call *call, __u32 kind)
{
	struct scratch *record = record__begin(s, task, kind, STREAM_SECURITY);
	struct ravn_act *out;

	if (!record)
		return NULL;
	out = (struct ravn_act *)record->body;
	__builtin_memset(out, 0, sizeof(*out));
	out->ret = call->ret;
	/* The 32-bit table's numbers mean other calls. */
	out->syscall = call->compat ? 0xffff : call->nr;
	return out;
}

static __always_inline int act__submit(struct cpu_state *s, struct ravn_act *out)
{
	return security__submit(s, scratch__current(),
				sizeof(*out) + (out->first_len & LEN_MASK) + (out->second_len & LEN_MASK));
}

/* The namespaces of `task` that are the initial ones, as CLONE_NEW* bits. */
static __noinline __u32 namespaces__initial(struct task_struct *task)
{
	struct task_struct *other;
	struct nsproxy *own, *its;
	__u32 shared = 0;

	if (!bpf_task_from_pid)
		return 0;
	other = bpf_task_from_pid(KTHREADD_PID);
	if (!other)
		return 0;
	own = task->nsproxy;
	its = other->nsproxy;
	if (own && its) {
		shared |= own->mnt_ns == its->mnt_ns ? CLONE_NEWNS : 0;
		shared |= own->uts_ns == its->uts_ns ? CLONE_NEWUTS : 0;
		shared |= own->ipc_ns == its->ipc_ns ? CLONE_NEWIPC : 0;
		shared |= own->pid_ns_for_children == its->pid_ns_for_children ? CLONE_NEWPID : 0;
		shared |= own->net_ns == its->net_ns ? CLONE_NEWNET : 0;
		shared |= own->cgroup_ns == its->cgroup_ns ? CLONE_NEWCGROUP : 0;
	}
	shared |= task->cred->user_ns == other->cred->user_ns ? CLONE_NEWUSER : 0;
	bpf_task_release(other);
	return shared;
}

/* Numbers: kinds of namespaces that were entered (CLONE_NEW*), the number of the one that the
 * descriptor stands for (0 for a pidfd), and those among them that are the initial ones. Target: the
 * pidfd's process. */
static __noinline int act__setns(struct cpu_state *s, struct task_struct *task, struct call *call)
{
	struct ravn_act *out = act__begin(s, task, call, KIND_SETNS);
	struct file *file = file__of(task, call->args[0]);

	if (!out)
		return 0;
	out->numbers[0] = (__u32)call->args[1];
	if (file && file->f_inode->i_sb->s_magic == NSFS_MAGIC) {
		struct ns_common *ns = bpf_core_cast(file->f_inode->i_private, struct ns_common);

		out->numbers[0] = bpf_core_field_exists(ns->ns_type) ? ns->ns_type : ns->ops->type;
		out->numbers[1] = ns->inum;
	} else if (file && file->f_inode->i_sb->s_magic == PIDFS_MAGIC) {
		struct pid *pid = bpf_core_cast(file->f_inode->i_private, struct pid);

		if (bpf_task_from_pid) {
			struct task_struct *found = bpf_task_from_pid(BPF_CORE_READ(pid, numbers[0].nr));

			if (found) {
				target__fill(&out->target, found);
				bpf_task_release(found);
			}
		}
	}
	if (call->ret == 0)
		out->numbers[2] = namespaces__initial(task) & out->numbers[0];
	return act__submit(s, out);
}

struct mapping {
	__u64 dentry;
	__u64 mount;
	bool found;
	bool written;
};

static long mapping__look(struct task_struct *task, struct vm_area_struct *vma, struct mapping *mapping)
{
	mapping->found = true;
	mapping->written = vma->anon_vma;
	if (vma->vm_file) {
		mapping->dentry = (__u64)vma->vm_file->f_path.dentry;
		mapping->mount = (__u64)vma->vm_file->f_path.mnt;
	}
	return 0;
}

/* Numbers: address, length, protection (bit 32: its mapping was written to before, so that what
 * is executed need not be what a file holds). First: the file that is mapped there. */
static __noinline int act__exec_memory(struct cpu_state *s, struct task_struct *task, struct call *call,
				       bool fresh)
{
	struct mapping mapping = {};
	struct memory_act key = {};
	__u64 address = fresh ? call->ret : call->args[0];
	__u32 protection = call->args[2];
	struct scratch *record;
	struct ravn_act *out;
	__u8 one = 1;

	if (call->ret < 0 && call->ret >= -MAX_ERRNO)
		address = call->args[0];
	else
		bpf_find_vma(task, address, mapping__look, &mapping, 0);
	/* A program's text, as the loader maps it. */
	if (!(protection & PROT_WRITE) && !mapping.written)
		return 0;
	key.tgid = task->tgid;
	key.exec_id = task->self_exec_id;
	key.syscall = call->nr;
	key.how = protection | (__u32)mapping.written << 8 | (call->ret < 0 && call->ret >= -MAX_ERRNO) << 9;
	if (!mapping.dentry && bpf_map_lookup_elem(&memory_acts, &key))
		return 0;
	out = act__begin(s, task, call, KIND_EXEC_MEMORY);
	record = scratch__current();
	if (!out || !record)
		return 0;
	out->numbers[0] = address;
	out->numbers[1] = call->args[1];
	out->numbers[2] = protection | (__u64)mapping.written << 32;
	if (mapping.dentry) {
		record->pointers[0] = mapping.dentry;
		record->pointers[1] = mapping.mount;
		out->first_len = append__path_pointed(sizeof(*out), PLACE_CPU);
	}
	/* An address is no error. */
	if (fresh && address != call->args[0])
		out->ret = 0;
	/* What found no room is tried again with the next. */
	if (!act__submit(s, out) && !mapping.dentry)
		bpf_map_update_elem(&memory_acts, &key, &one, BPF_ANY);
	return 0;
}

/* Numbers: type and config of the event, the CPU. Target: the process that is watched. */
static __noinline int act__perf_event(struct cpu_state *s, struct task_struct *task, struct call *call)
{
	struct ravn_act *out = act__begin(s, task, call, KIND_PERF_EVENT_OPEN);
	/* Type, size, config: the first three fields of perf_event_attr. */
	struct {
		__u32 type;
		__u32 size;
		__u64 config;
	} attributes = {};

	if (!out)
		return 0;
	bpf_probe_read_user(&attributes, sizeof(attributes), (void *)call->args[0]);
	out->numbers[0] = attributes.type;
	out->numbers[1] = attributes.config;
	out->numbers[2] = (__u32)call->args[2];
	target__find(&out->target, task, call->args[1]);
	return act__submit(s, out);
}

/* Numbers: flags. First: the kernel's file. */
static __noinline int act__kexec(struct cpu_state *s, struct task_struct *task, struct call *call, bool named)
{
	struct ravn_act *out = act__begin(s, task, call, KIND_KEXEC);
	struct file *file = named ? file__of(task, call->args[0]) : NULL;

	if (!out)
		return 0;
	out->numbers[0] = named ? call->args[4] : call->args[3];
	if (file)
		out->first_len = append__file_path(sizeof(*out), file);
	return act__submit(s, out);
}

/* Numbers: entries, flags. */
static __noinline int act__io_uring(struct cpu_state *s, struct task_struct *task, struct call *call)
{
	struct ravn_act *out = act__begin(s, task, call, KIND_IO_URING);
	__u32 flags = 0;

	if (!out)
		return 0;
	/* Third field of io_uring_params. */
	bpf_probe_read_user(&flags, sizeof(flags), (void *)(call->args[1] + 8));
	out->numbers[0] = (__u32)call->args[0];
	out->numbers[1] = flags;
	return act__submit(s, out);
}

/* ptrace and process_vm_*. Numbers: request (0 read, 1 write for memory), the process as
 * the caller named it. Target: who that is. */
static __noinline int act__upon(struct cpu_state *s, struct task_struct *task, struct call *call,
				__u32 action)
{
	bool traces = action == ACT_PTRACE;
	__u32 pid = traces ? call->args[1] : call->args[0];
	struct ravn_target target = {};
	struct ravn_act *out;

	target__find(&target, task, pid);
	/* Its own memory is nobody's business. */
	if (!traces && target.tgid == task->tgid)
		return 0;
	out = act__begin(s, task, call, traces ? KIND_PTRACE : KIND_VM_WRITE);
	if (!out)
		return 0;
	out->numbers[0] = traces ? call->args[0] : action == ACT_VM_WRITE;
	out->numbers[1] = pid;
	out->target = target;
	return act__submit(s, out);
}

/* Numbers: flags, then the user namespace (number, depth) that the task has now. */
static __noinline int act__unshare(struct cpu_state *s, struct task_struct *task, struct call *call)
{
	struct ravn_act *out = act__begin(s, task, call, KIND_UNSHARE);

	if (!out)
		return 0;
	out->numbers[0] = (__u32)call->args[0];
	out->numbers[1] = task->cred->user_ns->ns.inum;
	out->numbers[2] = task->cred->user_ns->level;
	return act__submit(s, out);
}

/* First, second: the new root, and where the old one goes, as given. */
static __noinline int act__pivot_root(struct cpu_state *s, struct task_struct *task, struct call *call)
{
	struct ravn_act *out = act__begin(s, task, call, KIND_PIVOT_ROOT);
	__u32 at = sizeof(*out);

	if (!out)
		return 0;
	out->first_len = append__user_string(at, call->args[0]);
	out->second_len = append__user_string(at + (out->first_len & LEN_MASK), call->args[1]);
	return act__submit(s, out);
}

/* Numbers: the first two arguments. */
static __noinline int act__plain(struct cpu_state *s, struct task_struct *task, struct call *call, __u32 kind)
{
	struct ravn_act *out = act__begin(s, task, call, kind);

	if (!out)
		return 0;
	out->numbers[0] = (__u32)call->args[0];
	out->numbers[1] = (__u32)call->args[1];
	return act__submit(s, out);
}

/* A global function: verified once, not for each way here. */
int act__sys_exit(struct call *call, __u32 action)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();

	if (!s || !call)
		return 0;
	switch (action) {
	case ACT_PTRACE:
	case ACT_VM_READ:
	case ACT_VM_WRITE:
		return act__upon(s, task, call, action);
	case ACT_PIVOT_ROOT:
		return act__pivot_root(s, task, call);
	case ACT_UNSHARE:
		return act__unshare(s, task, call);
	case ACT_KEYCTL:
		return act__plain(s, task, call, KIND_KEYCTL);
	case ACT_USERFAULTFD:
		return act__plain(s, task, call, KIND_USERFAULTFD);
	case ACT_SETNS:
		return act__setns(s, task, call);
	case ACT_MMAP:
		return act__exec_memory(s, task, call, true);
	case ACT_MPROTECT:
		return act__exec_memory(s, task, call, false);
	case ACT_KEXEC:
		return act__kexec(s, task, call, false);
	case ACT_KEXEC_FILE:
		return act__kexec(s, task, call, true);
	case ACT_PERF_EVENT_OPEN:
		return act__perf_event(s, task, call);
	case ACT_IO_URING:
		return act__io_uring(s, task, call);
	}
	return 0;
}

/* Namespaces that a clone gave its child: an `unshare` of the child's. Called at fork. */
MONITOR int namespaces__cloned(struct cpu_state *s, struct task_struct *parent, struct task_struct *child)
{
	struct nsproxy *old = parent->nsproxy, *new = child->nsproxy;
	struct scratch *record;
	struct ravn_act *out;
	__u32 fresh = 0;

	if (old != new &&old &&new) {
		fresh |= old->mnt_ns != new->mnt_ns ? CLONE_NEWNS : 0;
		fresh |= old->uts_ns != new->uts_ns ? CLONE_NEWUTS : 0;
		fresh |= old->ipc_ns != new->ipc_ns ? CLONE_NEWIPC : 0;
		fresh |= old->pid_ns_for_children != new->pid_ns_for_children ? CLONE_NEWPID : 0;
		fresh |= old->net_ns != new->net_ns ? CLONE_NEWNET : 0;
		fresh |= old->cgroup_ns != new->cgroup_ns ? CLONE_NEWCGROUP : 0;
	}
	fresh |= parent->cred->user_ns != child->cred->user_ns ? CLONE_NEWUSER : 0;
	if (!fresh)
		return 0;
	record = record__begin(s, parent, KIND_UNSHARE, STREAM_SECURITY);
	if (!record)
		return 0;
	out = (struct ravn_act *)record->body;
	__builtin_memset(out, 0, sizeof(*out));
	out->numbers[0] = fresh;
	out->numbers[1] = child->cred->user_ns->ns.inum;
	out->numbers[2] = child->cred->user_ns->level;
	target__fill(&out->target, child);
	return act__submit(s, out);
}
