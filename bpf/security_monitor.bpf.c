// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What changes who a process is or what the kernel does: credentials, programs in memory,
 * sockets as standard input and output, mounts, modules, bpf(); and, in acts.bpf.c, what
 * needs no more than a few numbers. Attempts are reported with their result: a refused one
 * tells as much.
 */
#include "common.bpf.h"
#include "calls.h"
#include "socket.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} security_events SEC(".maps");

#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030
#define STDERR 2
/* include/uapi/linux/bpf.h, enum bpf_cmd: element operations, test runs, look-ups and
 * queries by id neither create nor attach. */
#define BPF_MAP_CREATE 0
#define BPF_PROG_LOAD 5
#define BPF_COMMANDS 64
#define BPF_DATA_COMMANDS                                                                                    \
	(1ull << 1 | 1ull << 2 | 1ull << 3 | 1ull << 4 | 1ull << 10 | 1ull << 11 | 1ull << 12 | 1ull << 13 | \
	 1ull << 14 | 1ull << 15 | 1ull << 16 | 1ull << 19 | 1ull << 20 | 1ull << 21 | 1ull << 22 |          \
	 1ull << 23 | 1ull << 24 | 1ull << 25 | 1ull << 26 | 1ull << 27 | 1ull << 30 | 1ull << 31)

/*
 * The credentials of a task as they were written down last: when it was created, at its exec, and
 * when they changed. What was before a change is nowhere else: the kernel forgets it. Of tasks
 * older than the programs they are written down when the collector reads the iterator.
 */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ravn_ids);
} known_creds SEC(".maps");

int act__sys_exit(struct call *call, __u32 action);

MONITOR int security__submit(struct cpu_state *s, struct scratch *record, __u32 body_bytes)
{
	return s && record ? RECORD_SUBMIT(s, security_events, record, body_bytes, STREAM_SECURITY) : -1;
}

static __noinline int creds__read(const struct cred *cred, struct ravn_ids *out)
{
	if (!out)
		return 0;
	out->cap_effective = cred->cap_effective.val;
	out->cap_permitted = cred->cap_permitted.val;
	out->uids[0] = cred->uid.val;
	out->uids[1] = cred->euid.val;
	out->uids[2] = cred->suid.val;
	out->uids[3] = cred->fsuid.val;
	out->gids[0] = cred->gid.val;
	out->gids[1] = cred->egid.val;
	out->gids[2] = cred->sgid.val;
	out->gids[3] = cred->fsgid.val;
	out->user_ns = cred->user_ns->ns.inum;
	out->user_ns_level = cred->user_ns->level;
	return 0;
}

MONITOR bool creds__exchange(struct task_struct *task, struct ravn_ids *before)
{
	struct ravn_ids *known;
	bool was_known;

	known = bpf_task_storage_get(&known_creds, task, NULL, 0);
	was_known = known;
	if (!known)
		known = bpf_task_storage_get(&known_creds, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!known)
		return false;
	if (before)
		*before = *known;
	creds__read(task->cred, known);
	return was_known;
}

/* What is written down already is as new: a change since the hooks were attached, and stays.
 * One that is under way just now, between its change and the call's end, shows itself as none. */
MONITOR void creds__note(struct task_struct *task)
{
	struct ravn_ids now = {};

	creds__read(task->cred, &now);
	bpf_task_storage_get(&known_creds, task, &now, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* Credentials that may have changed. A call that is made to change them is reported whatever
 * came of it; others when something is known to be different now. */
MONITOR int security__creds(struct call *call, bool always)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();
	struct scratch *record = scratch__current();
	struct ravn_ids before = {}, after;
	struct ravn_creds *out;
	bool known;

	if (!s || !record || !call)
		return 0;
	known = creds__exchange(task, &before);
	creds__read(task->cred, &after);
	if (!always &&
	    (!known || (before.user_ns == after.user_ns && before.cap_effective == after.cap_effective)))
		return 0;
	record = record__begin(s, task, KIND_CREDS, STREAM_SECURITY);
	if (!record)
		return 0;
	out = (struct ravn_creds *)record->body;
	out->before = before;
	out->after = after;
	out->ret = call->ret;
	/* The 32-bit table's numbers mean other calls. */
	out->syscall = call->compat ? 0xffff : call->nr;
	out->before_known = known;
	out->pad = 0;
	return security__submit(s, record, sizeof(*out));
}

static __noinline int security__memfd(struct cpu_state *s, struct task_struct *task, struct call *call)
{
	struct scratch *record = record__begin(s, task, KIND_MEMFD, STREAM_SECURITY);
	struct file *file = call->ret >= 0 ? file__of(task, call->ret) : NULL;
	struct ravn_memfd *out;

	if (!record)
		return 0;
	out = (struct ravn_memfd *)record->body;
	out->ino = file ? file->f_inode->i_ino : 0;
	out->flags = call->args[1];
	out->ret = call->ret;
	out->name_len = append__user_string(sizeof(*out), call->args[0]);
	out->pad = 0;
	return security__submit(s, record, sizeof(*out) + (out->name_len & LEN_MASK));
}

/* A descriptor was copied to 0, 1 or 2: reported when it is a socket. */
static __noinline int security__dup(struct cpu_state *s, struct task_struct *task, struct call *call)
{
	struct scratch *record;
	struct ravn_socket *out;
	struct file *file;
	struct sock *sk;

	if (call->ret < 0 || call->ret > STDERR)
		return 0;
	file = file__of(task, call->ret);
	sk = file ? sock__of(file) : NULL;
	if (!sk)
		return 0;
	record = record__begin(s, task, KIND_DUP_SOCKET, STREAM_SECURITY);
	if (!record)
		return 0;
	out = (struct ravn_socket *)record->body;
	socket__fill(record, sk);
	out->ret = call->ret;
	out->old_fd = call->args[0];
	out->new_fd = call->ret;
	return security__submit(s, record, socket__bytes(out));
}

static __noinline int security__mount(struct cpu_state *s, struct task_struct *task, struct call *call,
				      bool move)
{
	struct scratch *record = record__begin(s, task, KIND_MOUNT, STREAM_SECURITY);
	__u32 at = sizeof(struct ravn_mount);
	struct ravn_mount *out;

	if (!record)
		return 0;
	out = (struct ravn_mount *)record->body;
	out->flags = move ? call->args[4] : call->args[3];
	out->ret = call->ret;
	out->source_len = append__user_string(at, move ? call->args[1] : call->args[0]);
	at += out->source_len & LEN_MASK;
	out->target_len = append__user_string(at, move ? call->args[3] : call->args[1]);
	at += out->target_len & LEN_MASK;
	out->fstype_len = move ? 0 : append__user_string(at, call->args[2]);
	at += out->fstype_len & LEN_MASK;
	return security__submit(s, record, at);
}

static __noinline int security__module(struct cpu_state *s, struct task_struct *task, struct call *call,
				       __u32 action)
{
	struct scratch *record = record__begin(s, task, KIND_MODULE, STREAM_SECURITY);
	struct ravn_module *out;
	struct file *file;

	if (!record)
		return 0;
	out = (struct ravn_module *)record->body;
	out->syscall = action == ACT_INIT_MODULE ? 175 : action == ACT_DELETE_MODULE ? 176 : 313;
	out->ret = call->ret;
	out->name_len = 0;
	out->pad = 0;
	if (action == ACT_DELETE_MODULE) {
		out->name_len = append__user_string(sizeof(*out), call->args[0]);
	} else if (action == ACT_FINIT_MODULE) {
		file = file__of(task, call->args[0]);
		if (file)
			out->name_len = append__file_path(sizeof(*out), file);
	}
	return security__submit(s, record, sizeof(*out) + (out->name_len & LEN_MASK));
}

static __noinline int security__bpf(struct cpu_state *s, struct task_struct *task, struct call *call)
{
	__u32 command = call->args[0];
	struct scratch *record;
	struct ravn_bpf *out;

	if (command < BPF_COMMANDS && (BPF_DATA_COMMANDS >> command & 1))
		return 0;
	record = record__begin(s, task, KIND_BPF, STREAM_SECURITY);
	if (!record)
		return 0;
	out = (struct ravn_bpf *)record->body;
	out->command = command;
	out->object_type = 0;
	out->ret = call->ret;
	out->pad = 0;
	/* The type is the first word of bpf_attr for both. */
	if (command == BPF_MAP_CREATE || command == BPF_PROG_LOAD)
		bpf_probe_read_user(&out->object_type, sizeof(out->object_type), (void *)call->args[1]);
	return security__submit(s, record, sizeof(*out));
}

int security__sys_exit(struct call *call, __u32 action)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();

	if (!s || !call)
		return 0;
	switch (action) {
	case ACT_CREDS:
		return security__creds(call, true);
	case ACT_MEMFD:
		return security__memfd(s, task, call);
	case ACT_FCNTL:
		if ((__u32)call->args[1] != F_DUPFD && (__u32)call->args[1] != F_DUPFD_CLOEXEC)
			return 0;
		return security__dup(s, task, call);
	case ACT_DUP:
		return security__dup(s, task, call);
	case ACT_MOUNT:
		return security__mount(s, task, call, false);
	case ACT_MOVE_MOUNT:
		return security__mount(s, task, call, true);
	case ACT_INIT_MODULE:
	case ACT_FINIT_MODULE:
	case ACT_DELETE_MODULE:
		return security__module(s, task, call, action);
	case ACT_BPF:
		return security__bpf(s, task, call);
	case ACT_UNSHARE:
	case ACT_SETNS:
		act__sys_exit(call, action);
		/* Of a process older than the sensor nobody knows whether setns changed them. */
		return call->ret == 0
			       ? security__creds(call, action == ACT_UNSHARE && call->args[0] & CLONE_NEWUSER)
			       : 0;
	}
	return act__sys_exit(call, action);
}
