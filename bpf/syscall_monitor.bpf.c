// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Process life and the whole syscall sequence of every thread; and the one
 * dispatcher where all syscalls end, which calls the other monitors.
 */
#include "filter.bpf.h"
#include "calls.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} syscall_events SEC(".maps");

/* Processes whose sequences are left out, by id and start: the sensor's own. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} excluded SEC(".maps");

/* Jiffies per second of this kernel; CONFIG_HZ is not in BTF. Set before load. */
const volatile __u64 hz = 250;

#include "sequence.bpf.h"

MONITOR bool task__sensor(struct task_struct *task)
{
	return sequence__excluded(task);
}

/* Global functions: each monitor is verified once, on its own, and finds the task and the CPU's
 * state by itself. */
int file__sys_exit(struct call *call, __u32 action);
int network__sys_exit(struct call *call, __u32 action);
int security__sys_exit(struct call *call, __u32 action);
MONITOR int exec__fill(struct scratch *record, struct task_struct *task, struct linux_binprm *bprm);
MONITOR int namespaces__cloned(struct cpu_state *s, struct task_struct *parent, struct task_struct *child);

/* Processes that made a 32-bit call though they are 64-bit: told once each. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} mixed_abi SEC(".maps");

/* Smallest question to a name server, over UDP, and largest over TCP that is looked at. */
#define QUESTION_LEAST 17
#define QUESTION_MOST 600

static __always_inline void call__load(struct call *call, struct pt_regs *regs, __s64 ret, __u32 nr,
				       bool compat)
{
#if defined(__TARGET_ARCH_x86)
	if (compat) {
		/* The 32-bit entry passes arguments in other registers, and only their low
		 * halves (arch/x86/include/asm/syscall.h). */
		call->args[0] = (__u32)regs->bx;
		call->args[1] = (__u32)regs->cx;
		call->args[2] = (__u32)regs->dx;
		call->args[3] = (__u32)regs->si;
		call->args[4] = (__u32)regs->di;
		call->args[5] = (__u32)regs->bp;
	} else {
		call->args[0] = regs->di;
		call->args[1] = regs->si;
		call->args[2] = regs->dx;
		call->args[3] = regs->r10;
		call->args[4] = regs->r8;
		call->args[5] = regs->r9;
	}
#elif defined(__TARGET_ARCH_arm64)
	/* x0 holds the result by now. */
	call->args[0] = compat ? (__u32)regs->orig_x0 : regs->orig_x0;
	for (int i = 1; i < 6; i++)
		call->args[i] = compat ? (__u32)regs->regs[i] : regs->regs[i];
#endif
	call->args[ARG_CWD] = (__u32)AT_FDCWD;
	call->args[ARG_NONE] = 0;
	call->ret = ret;
	call->nr = nr;
	call->compat = compat;
}

/* Frequent calls that are an event by their arguments alone: without a helper, and before the
 * arguments are gathered. The second and third argument are in the same registers in both
 * tables, the first is not. */
static __always_inline bool call__matters(struct pt_regs *regs, __s64 ret, __u32 action, bool compat)
{
	__u64 first, second, third;

	if (action < ACT_SELDOM || action > ACT_SELDOM_LAST)
		return true;
#if defined(__TARGET_ARCH_x86)
	first = compat ? regs->bx : regs->di;
	second = compat ? regs->cx : regs->si;
	third = regs->dx;
#elif defined(__TARGET_ARCH_arm64)
	first = regs->orig_x0;
	second = regs->regs[1];
	third = regs->regs[2];
#endif
	switch (action) {
	case ACT_WRITE:
	case ACT_WRITEV:
		return ret >= QUESTION_LEAST && ret <= QUESTION_MOST;
	case ACT_MMAP:
		return (third & (PROT_WRITE | PROT_EXEC)) == (PROT_WRITE | PROT_EXEC);
	case ACT_MPROTECT:
		return third & PROT_EXEC;
	case ACT_SOCKET:
		return (__u32)first == AF_PACKET || ((second & SOCK_TYPE_MASK) == SOCK_RAW &&
						     ((__u32)first == AF_INET || (__u32)first == AF_INET6));
	}
	return true;
}

static __always_inline bool task__compat(__u64 task)
{
#if defined(__TARGET_ARCH_x86)
	/* cs does not tell: `int 0x80` comes from 64-bit code too. */
	return bpf_core_cast((void *)task, struct task_struct)->thread_info.status & TS_COMPAT;
#else
	return bpf_core_cast((void *)task, struct task_struct)->thread_info.flags & TIF_32BIT;
#endif
}

/* A call of the 32-bit table by a program that is not a 32-bit one: rules and filters that know
 * the other table's numbers are passed by that. */
static __noinline int task__mixes(struct cpu_state *s, __u32 nr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct mm_struct *mm = task->mm;
	__u64 start = task->group_leader->start_boottime, *seen;
	__u32 tgid = task->tgid;
	struct scratch *record;
	struct ravn_act *out;

	/* A 32-bit program's addresses end below 4 GiB. */
	if (!s || !mm || !(mm->task_size >> 32) || !task__wanted(task))
		return 0;
	seen = bpf_map_lookup_elem(&mixed_abi, &tgid);
	if (seen && *seen == start)
		return 0;
	record = record__begin(s, task, KIND_COMPAT, STREAM_SECURITY);
	if (!record)
		return 0;
	out = (struct ravn_act *)record->body;
	__builtin_memset(out, 0, sizeof(*out));
	out->numbers[0] = nr;
	/* What found no room is tried again with the next call. */
	if (!security__submit(s, record, sizeof(*out)))
		bpf_map_update_elem(&mixed_abi, &tgid, &start, BPF_ANY);
	return 0;
}

/* What a number means in its table. An x32 call has a bit of its own above the number. */
static __always_inline __u32 call__action(__u32 nr, bool compat)
{
	nr &= ~X32_BIT;
	return nr < CALLS ? (compat ? compat_actions : actions)[nr & (CALLS - 1)] : 0;
}

/* What is known of the thread that made a call. */
#define THREAD_RUNS 1	/* its sequence is written */
#define THREAD_COMPAT 2 /* the call is of the 32-bit table */

/* Which thread it is, when it is not the run's own, or may be another from here on; or which
 * table its call is of. One that the chunk knows costs a word, another is defined. */
static __always_inline __u32 thread__turn(struct cpu_state *s, __u64 key, __u32 nr)
{
	struct slot *slot;
	__u32 index, found;

	/* Through memory: the verifier does not shift a pointer. */
	*(volatile __u64 *)&s->scratch_key = key;
	index = slot__index(*(volatile __u64 *)&s->scratch_key);
	slot = &s->slots[index & (SLOTS - 1)];
	if (slot->regs == key && slot->generation == s->generation) {
		found = (slot->skip ? 0 : THREAD_RUNS) | (task__compat(slot->task) ? THREAD_COMPAT : 0);
		/* After clone and exec a known slot is defined anew all the same. */
		if (!(call__action(nr, found & THREAD_COMPAT) & ACT_NEW)) {
			if (slot->skip) {
				s->skip = key;
				s->skip_task = slot->task;
			} else if (s->key != key) {
				*WORD_AT(s, s->pos) = WORD_SWITCH | index;
				s->pos += 2;
				s->key = key;
				s->task = slot->task;
			}
			return found;
		}
	}
	found = sequence__define(s, key, index) ? THREAD_RUNS : 0;
	return found | (task__compat(slot->task) ? THREAD_COMPAT : 0);
}

/* What a call did, to the monitor whose event it may be. The CPU is held by the caller. Inlined:
 * the calls below it stand 8 deep already, the most that the verifier takes. */
static __always_inline int call__report(struct cpu_state *s, struct pt_regs *regs, __s64 ret, __u32 nr,
					bool compat)
{
	__u32 action = call__action(nr, compat) & ACT_EVENT;
	struct call call;

	if (compat)
		task__mixes(s, nr);
	if (!action || !call__matters(regs, ret, action, compat))
		return 0;
	s->hits[HOOK_SYS_EXIT]++;
	if (!current__wanted())
		return 0;
	call__load(&call, regs, ret, nr & ~X32_BIT, compat);
	if (action >= ACT_SECURITY)
		return security__sys_exit(&call, action);
	if (action >= ACT_NETWORK)
		return network__sys_exit(&call, action);
	return file__sys_exit(&call, action);
}

/*
 * The one hook on the syscall path. Number, result and arguments are all there on
 * the way out, and what the kernel made of them (descriptors, sockets) can be read
 * from its own objects instead of from user memory that may have changed.
 */
SEC("tp_btf/sys_exit")
int BPF_PROG(handle__sys_exit, struct pt_regs *regs, long ret)
{
	struct cpu_state *s = cpu_state();
	__u64 key = (__u64)regs;
	__u32 nr, action, thread = THREAD_RUNS;

	if (!s)
		return 0;
#if defined(__TARGET_ARCH_x86)
	nr = regs->orig_ax;
#else
	nr = regs->syscallno;
#endif
	action = call__action(nr, false);
	/* The sensor's own process, or one that configuration leaves out: no sequence, but its
	 * events are looked at, clone and exec ask anew, and that a 64-bit program makes a 32-bit
	 * call is told whatever the call is. */
	if (s->key != key && s->skip == key && !(action | call__action(nr, true)) &&
	    !task__compat(s->skip_task))
		return 0;
	if (!cpu__enter(s, STREAM_SEQUENCE))
		return 0;
	if (s->key != key || action & ACT_NEW || task__compat(s->task)) {
		thread = thread__turn(s, key, nr);
		action = call__action(nr, thread & THREAD_COMPAT);
	}
	if (thread & THREAD_RUNS)
		sequence__append(s, sequence__word(nr, ret) | (thread & THREAD_COMPAT ? WORD_COMPAT : 0));
	if (action & ACT_EVENT || thread & THREAD_COMPAT)
		call__report(s, regs, ret, nr, thread & THREAD_COMPAT);
	if (thread & THREAD_RUNS)
		sequence__close(s);
	cpu__leave(s);
	return 0;
}

/* Forgets a thread on the CPU of `s`. */
static __always_inline void thread__forget(struct cpu_state *s, struct task_struct *task)
{
	__u64 key = pointer__number((void *)bpf_task_pt_regs(task));
	struct slot *slot = &s->slots[slot__index(key) & (SLOTS - 1)];

	if (slot->regs == key)
		slot->regs = 0;
	if (s->key == key)
		s->key = 0;
	if (s->skip == key)
		s->skip = 0;
}

/* A thread leaves a CPU. Without this it would continue its old run there when it comes
 * back, and its words from elsewhere would seem later. It does not run now, so
 * only interrupts of that CPU race, and they only force a definition. */
SEC("tp_btf/sched_migrate_task")
int BPF_PROG(handle__sched_migrate_task, struct task_struct *task)
{
	struct cpu_state *s = cpu_state_of(task->thread_info.cpu);

	if (s) {
		s->hits[HOOK_MIGRATE]++;
		thread__forget(s, task);
	}
	return 0;
}

/* In kernel_clone, before the child is first woken: its id and start are known, and
 * none of its own records can come earlier. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(handle__sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_fork *fork;

	if (!s)
		return 0;
	s->hits[HOOK_FORK]++;
	if (!task__wanted(parent) || !cpu__enter(s, STREAM_SYSCALL))
		return 0;
	creds__exchange(child, NULL);
	record = record__begin(s, parent, KIND_FORK, STREAM_SYSCALL);
	if (record) {
		fork = (struct ravn_fork *)record->body;
		fork->child_start_ns = child->start_boottime;
		fork->child_tgid = child->tgid;
		fork->child_pid = child->pid;
		fork->thread = child->tgid == parent->tgid;
		fork->pad = 0;
		RECORD_SUBMIT(s, syscall_events, record, sizeof(*fork), STREAM_SYSCALL);
		namespaces__cloned(s, parent, child);
	}
	cpu__leave(s);
	return 0;
}

/* In exec_binprm, past the point of no return: the new image, its credentials and its
 * stack with the arguments are all in place. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(handle__sched_process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct cpu_state *s = cpu_state();
	struct scratch *record;

	if (!s)
		return 0;
	s->hits[HOOK_EXEC]++;
	if (!task__wanted(task) || !cpu__enter(s, STREAM_SYSCALL))
		return 0;
	record = record__begin(s, task, KIND_EXEC, STREAM_SYSCALL);
	if (record) {
		__u32 bytes = exec__fill(record, task, bprm);

		RECORD_SUBMIT(s, syscall_events, record, bytes, STREAM_SYSCALL);
	}
	cpu__leave(s);
	return 0;
}

/* A process is named by its cgroup's id alone; what that is called is told once. In
 * cgroup_mkdir, before anything can be in it. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(handle__cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_cgroup *out;
	long read;

	if (!s)
		return 0;
	s->hits[HOOK_CGROUP]++;
	if (!cgroup__wanted(cgroup) || !cpu__enter(s, STREAM_SYSCALL))
		return 0;
	record = record__begin(s, bpf_get_current_task_btf(), KIND_CGROUP, STREAM_SYSCALL);
	if (record) {
		out = (struct ravn_cgroup *)record->body;
		out->id = cgroup->kn->id;
		out->pad = 0;
		read = bpf_probe_read_kernel_str(record->body + sizeof(*out), USER_STRING_MAX, path);
		out->path_len = read > 0 ? read - 1 : 0;
		RECORD_SUBMIT(s, syscall_events, record, sizeof(*out) + (out->path_len & LEN_MASK),
			      STREAM_SYSCALL);
	}
	cpu__leave(s);
	return 0;
}

/* exit and exit_group never come back to sys_exit: their word is written here. */
static __always_inline void sequence__append_exit(struct cpu_state *s, struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	__u32 nr = regs->orig_ax, all = 231, one = 60, compat_all = 252;
#elif defined(__TARGET_ARCH_arm64)
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	__u32 nr = regs->syscallno, all = 94, one = 93, compat_all = 248;
#endif
	bool compat = task__compat((__u64)task);
	__u64 key = pointer__number(regs);
	__u32 index = slot__index(key);
	struct slot *slot = &s->slots[index & (SLOTS - 1)];

	if (compat ? nr != 1 && nr != compat_all : nr != one && nr != all)
		return;
	/* Its image, by which it is left out, is given back already (before 6.16). */
	if (s->skip == key || (slot->skip && slot->regs == key && slot->generation == s->generation))
		return;
	if (s->key == key || sequence__define(s, key, index))
		sequence__append(s, nr | (compat ? WORD_COMPAT : 0));
}

/* In do_exit, for every thread, after `signal->live` went down: zero means that the
 * whole process is gone. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(handle__sched_process_exit, struct task_struct *task)
{
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_exit *exit;

	if (!s)
		return 0;
	s->hits[HOOK_EXIT]++;
	if (!task__wanted(task)) {
		thread__forget(s, task);
		return 0;
	}
	if (!cpu__enter(s, STREAM_SYSCALL)) {
		thread__forget(s, task);
		return 0;
	}
	sequence__append_exit(s, task);
	record = record__begin(s, task, KIND_EXIT, STREAM_SYSCALL);
	if (record) {
		exit = (struct ravn_exit *)record->body;
		exit->thread_start_ns = task->start_boottime;
		exit->status = task->exit_code;
		exit->process = task->signal->live.counter == 0;
		RECORD_SUBMIT(s, syscall_events, record, sizeof(*exit), STREAM_SYSCALL);
	}
	thread__forget(s, task);
	sequence__close(s);
	cpu__leave(s);
	return 0;
}

/* Run by the collector on a CPU whose chunk waits while nothing runs there. Returns 1
 * when the CPU was held. */
SEC("raw_tp/sys_exit")
int flush_cpu(void *ctx)
{
	struct cpu_state *s = cpu_state();

	if (!s || s->busy)
		return 1;
	s->busy = 1;
	sequence__flush(s);
	s->busy = 0;
	return 0;
}

/* Run by the collector: leaves its own process out of sequences. The kernel's own start
 * time is exact; /proc has it in ticks. */
SEC("raw_tp/sys_exit")
int exclude_caller(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 tgid = task->tgid;
	__u64 start = task->group_leader->start_boottime;

	return bpf_map_update_elem(&excluded, &tgid, &start, BPF_ANY);
}
