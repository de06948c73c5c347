// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What an exec record says of the new program, from bprm, mm and the task.
 * Part of the syscall monitor; a file of its own because exec is the one event
 * with more than a handful of fields.
 */
#include "common.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ARGV_BYTES 4096
/* Major numbers (Documentation/admin-guide/devices.txt): tty, ttyS and friends, pts. */
#define TTY_MAJOR 4
#define TTYAUX_MAJOR 5
#define PTS_MAJOR_FIRST 136
#define PTS_MAJOR_LAST 143

static __always_inline void exec__peer(struct ravn_exec *exec, struct sock *sk, __u16 family)
{
	exec->peer_port = __builtin_bswap16(sk->__sk_common.skc_dport);
	if (family == AF_INET) {
		*(__u32 *)exec->peer = sk->__sk_common.skc_daddr;
		exec->peer_len = 4;
	} else {
		bpf_probe_read_kernel(exec->peer, 16, &sk->__sk_common.skc_v6_daddr);
		exec->peer_len = 16;
	}
}

/* What a standard descriptor is; notes the remote end of the first connected socket. */
static __noinline __u32 exec__stdio(struct ravn_exec *exec, struct task_struct *task, __s32 fd)
{
	struct file *file = file__of(task, fd);
	struct inode *inode;
	__u32 major;

	if (!exec || !file)
		return STDIO_NONE;
	inode = file->f_inode;
	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
		return STDIO_FILE;
	case S_IFIFO:
		return STDIO_PIPE;
	case S_IFCHR:
		major = inode->i_rdev >> 20;
		if (major == TTY_MAJOR || major == TTYAUX_MAJOR ||
		    (major >= PTS_MAJOR_FIRST && major <= PTS_MAJOR_LAST))
			return STDIO_TTY;
		return STDIO_DEVICE;
	case S_IFSOCK: {
		struct sock *sk = sock__of(file);
		__u16 family;

		if (!sk)
			return STDIO_OTHER;
		family = sk->__sk_common.skc_family;
		if (family == AF_UNIX)
			return STDIO_UNIX;
		if (family != AF_INET && family != AF_INET6)
			return STDIO_OTHER;
		/* A UDP socket that was connected has the state of an established one too. */
		if (sk->__sk_common.skc_state != TCP_ESTABLISHED)
			return STDIO_OTHER;
		if (!exec->peer_len)
			exec__peer(exec, sk, family);
		return STDIO_INET;
	}
	}
	return STDIO_OTHER;
}

static __always_inline __u32 exec__tty(struct task_struct *task)
{
	struct tty_struct *tty = task->signal->tty;

	if (!tty)
		return 0;
	return (__u32)tty->driver->major << 20 | (__u32)(tty->driver->minor_start + tty->index);
}

static __always_inline __u32 exec__session(struct task_struct *task)
{
	struct pid *leader = task->signal->pids[PIDTYPE_SID];

	return leader ? BPF_CORE_READ(leader, numbers[0].nr) : 0;
}

/* A memfd is a tmpfs file whose dentry hangs from nothing and is named "memfd:…"
 * (mm/memfd.c, alloc_file_pseudo). */
static __always_inline bool file__is_memfd(struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;
	__u64 name = 0;

	if (file->f_inode->i_sb->s_magic != TMPFS_MAGIC || dentry != dentry->d_parent)
		return false;
	bpf_probe_read_kernel(&name, 6, dentry->d_name.name);
	return name == 0x3a64666d656dull; /* "memfd:", little-endian */
}

/* Appends a string of the kernel's own; returns its length. */
static __noinline __u32 append__kernel_string(struct scratch *record, __u32 at, const char *text)
{
	long read;

	if (at >= SCRATCH_BYTES)
		return 0;
	read = bpf_probe_read_kernel_str(record->body + INSIDE(at), USER_STRING_MAX, text);
	return read > 0 ? read - 1 : 0;
}

/* What is true of a process whatever made it known: its image, who it is, what it stands
 * on. Returns where the next string goes. */
static __noinline __u32 process__fill(struct ravn_exec *exec, struct task_struct *task, struct file *file,
				      __u32 place)
{
	struct fs_struct *fs = task->fs;
	__u32 at = sizeof(*exec);

	__builtin_memset(exec, 0, sizeof(*exec));
	exec->euid = task->cred->euid.val;
	exec->egid = task->cred->egid.val;
	exec->cap_effective = task->cred->cap_effective.val;
	exec->user_ns_level = task->cred->user_ns->level;
	/* CONFIG_AUDIT; unset otherwise. */
	exec->loginuid = bpf_core_field_exists(task->loginuid) ? task->loginuid.val : (__u32)-1;
	exec->session = exec__session(task);
	exec->tty = exec__tty(task);
	exec->stdio[0] = exec__stdio(exec, task, 0);
	exec->stdio[1] = exec__stdio(exec, task, 1);
	exec->stdio[2] = exec__stdio(exec, task, 2);
	/* A kernel thread has none. */
	if (file) {
		exec->ino = file->f_inode->i_ino;
		exec->dev = file->f_inode->i_sb->s_dev;
		if (file__is_memfd(file))
			exec->flags |= EXEC_MEMFD;
		if (!file->f_inode->i_nlink)
			exec->flags |= EXEC_DELETED;
		inode__ctime(file->f_inode, &exec->ctime_sec, &exec->ctime_nsec);
		exec->path_len = append__path_in(place, at, file->f_path.dentry, file->f_path.mnt);
		at += exec->path_len & LEN_MASK;
	}
	exec->cwd_len = append__path_in(place, at, fs->pwd.dentry, fs->pwd.mnt);
	return at + (exec->cwd_len & LEN_MASK);
}

/* Bytes of the arguments that are read, at most. The mask says the same once more, to the
 * verifier. */
static __always_inline __u32 argv__bytes(struct mm_struct *mm)
{
	__u32 bytes = mm->arg_end - mm->arg_start;

	if (bytes > ARGV_BYTES)
		bytes = ARGV_BYTES;
	barrier_var(bytes);
	return bytes & (2 * ARGV_BYTES - 1);
}

/* Fills the payload and its strings; returns their bytes. */
MONITOR int exec__fill(struct scratch *record, struct task_struct *task, struct linux_binprm *bprm)
{
	struct ravn_exec *exec = (struct ravn_exec *)record->body;
	struct mm_struct *mm = task->mm;
	__u32 at = process__fill(exec, task, bprm->file, PLACE_CPU), bytes;
	struct ravn_ids before = {};

	if (BPF_CORE_READ_BITFIELD(bprm, secureexec))
		exec->flags |= EXEC_SECURE;
	if (creds__exchange(task, &before)) {
		exec->flags |= EXEC_BEFORE_KNOWN;
		exec->euid_before = before.uids[1];
		exec->cap_gained = exec->cap_effective & ~before.cap_effective;
	}
	/* The kernel's copies, made before the image changed. */
	exec->filename_len = append__kernel_string(record, at, bprm->filename);
	at += exec->filename_len & LEN_MASK;
	exec->argv_bytes = mm->arg_end - mm->arg_start;
	bytes = argv__bytes(mm);
	if (at < SCRATCH_BYTES && bytes) {
		if (bpf_probe_read_user(record->body + INSIDE(at), bytes, (void *)mm->arg_start))
			exec->flags |= EXEC_ARGV_UNREADABLE;
		else
			exec->argv_len = bytes;
	}
	at += exec->argv_len & LEN_MASK;
	/* A script, or what binfmt_misc knows: `filename` is the script then. */
	if (bprm->interp != bprm->filename)
		exec->interpreter_len = append__kernel_string(record, at, bprm->interp);
	return at + (exec->interpreter_len & LEN_MASK);
}

/*
 * Every process that is there, once, when the collector reads the iterator: what runs since
 * before the hooks were attached. Without the arguments: they lie in the process' own memory,
 * and whoever backs that (FUSE, userfaultfd) could keep a sleeping reader for ever.
 */
SEC("iter/task")
int iterate__processes(struct bpf_iter__task *ctx)
{
	struct scratch *record = scratch__of(PLACE_ITERATOR);
	struct task_struct *task = ctx->task;
	struct ravn_exec *exec;
	struct mm_struct *mm;
	__u64 all;

	if (!record || !task || !task__wanted(task))
		return 0;
	creds__note(task);
	/* Threads, and the dead whose end was told to nobody. */
	if (task->pid != task->tgid || !task->signal->live.counter)
		return 0;
	record->hdr.n = 0;
	record->hdr.first_n = 0;
	record->hdr.word = 0;
	record->hdr.cpu = 0;
	header__of(&record->hdr, task, KIND_PROCESS);
	exec = (struct ravn_exec *)record->body;
	mm = task->mm;
	/* 64 bits wide: of 32, clang compares a copy, and the verifier misses the check. */
	all = sizeof(record->hdr) + process__fill(exec, task, mm ? mm->exe_file : NULL, PLACE_ITERATOR);
	if (mm)
		exec->argv_bytes = mm->arg_end - mm->arg_start;
	barrier_var(all);
	if (all > sizeof(record->hdr) + sizeof(record->body))
		return 0;
	record->hdr.len = all;
	bpf_seq_write(ctx->meta->seq, record, all);
	return 0;
}
