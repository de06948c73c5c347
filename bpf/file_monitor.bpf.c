// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What is done to files: opened to write, created, removed, renamed, made
 * executable. Opens show the file that the kernel opened; calls that only name a
 * path show the name as given, and the directory that a relative one starts from.
 */
#include "common.bpf.h"
#include "calls.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} file_events SEC(".maps");

#define NR_RENAMEAT2 316
#define NR_RENAMEAT2_COMPAT 353
#define O_WRITES (1 | 2 | O_CREAT | O_TRUNC)

static __noinline int file__opened(struct cpu_state *s, struct task_struct *task, __s64 fd)
{
	struct file *file = file__of(task, fd);
	struct scratch *record;
	struct ravn_open *open;
	__u32 created;

	if (!s || !file)
		return 0;
	created = !!(file->f_mode & FMODE_CREATED);
	/* O_CREAT on a file that was there, opened for reading alone, changes nothing. */
	if (!(file->f_flags & O_ACCMODE) && !created)
		return 0;
	record = record__begin(s, task, KIND_OPEN, STREAM_FILE);
	if (!record)
		return 0;
	open = (struct ravn_open *)record->body;
	open->ino = file->f_inode->i_ino;
	open->dev = file->f_inode->i_sb->s_dev;
	open->flags = file->f_flags;
	open->mode = file->f_inode->i_mode;
	open->created = created;
	open->path_len = append__file_path(sizeof(*open), file);
	open->pad = 0;
	RECORD_SUBMIT(s, file_events, record, sizeof(*open) + (open->path_len & LEN_MASK), STREAM_FILE);
	return 0;
}

/* The directory that a relative path starts from; nothing for an absolute path, which
 * `first` begins. */
static __noinline __u32 append__start(struct task_struct *task, __u32 at, __s32 dirfd, __u64 path)
{
	struct file *file;
	__u8 first = 0;

	bpf_probe_read_user(&first, 1, (void *)path);
	if (first == '/')
		return 0;
	if (dirfd == AT_FDCWD)
		return append__path(at, task->fs->pwd.dentry, task->fs->pwd.mnt);
	file = file__of(task, dirfd);
	return file ? append__file_path(at, file) : 0;
}

static __noinline int file__named(struct cpu_state *s, struct task_struct *task, __u32 kind, __s32 dirfd,
				  __u64 path)
{
	struct scratch *record;
	struct ravn_named *named;
	__u32 at = sizeof(*named);

	if (!s)
		return 0;
	record = record__begin(s, task, kind, STREAM_FILE);
	if (!record)
		return 0;
	named = (struct ravn_named *)record->body;
	__builtin_memset(named, 0, sizeof(*named));
	named->dir_len = append__start(task, at, dirfd, path);
	at += named->dir_len & LEN_MASK;
	named->path_len = append__user_string(at, path);
	return at + (named->path_len & LEN_MASK);
}

static __noinline int file__unlinked(struct cpu_state *s, struct task_struct *task, struct call *call,
				     bool at_call)
{
	struct scratch *record;
	__u32 bytes;

	if (!s || !call)
		return 0;
	bytes = file__named(s, task, KIND_UNLINK, at_call ? (__s32)call->args[0] : AT_FDCWD,
			    at_call ? call->args[1] : call->args[0]);
	record = scratch__current();
	if (record && bytes)
		RECORD_SUBMIT(s, file_events, record, bytes, STREAM_FILE);
	return 0;
}

static __noinline int file__renamed(struct cpu_state *s, struct task_struct *task, struct call *call,
				    bool at_call)
{
	struct scratch *record;
	struct ravn_named *named;
	__s32 to_dirfd;
	__u64 to;
	__u32 at;

	if (!s || !call)
		return 0;
	to_dirfd = at_call ? (__s32)call->args[2] : AT_FDCWD;
	to = at_call ? call->args[3] : call->args[1];
	at = file__named(s, task, KIND_RENAME, at_call ? (__s32)call->args[0] : AT_FDCWD,
			 at_call ? call->args[1] : call->args[0]);
	record = scratch__current();
	if (!record || !at)
		return 0;
	named = (struct ravn_named *)record->body;
	/* renameat has no fifth argument. */
	named->flags = call->nr == NR_RENAMEAT2 || (call->compat && call->nr == NR_RENAMEAT2_COMPAT)
			       ? call->args[4]
			       : 0;
	named->to_dir_len = append__start(task, at, to_dirfd, to);
	at += named->to_dir_len & LEN_MASK;
	named->to_path_len = append__user_string(at, to);
	at += named->to_path_len & LEN_MASK;
	RECORD_SUBMIT(s, file_events, record, at, STREAM_FILE);
	return 0;
}

static __noinline int file__mode_changed(struct cpu_state *s, struct task_struct *task, struct call *call,
					 bool at_call)
{
	struct scratch *record;
	struct ravn_named *named;
	__u32 bytes;

	if (!s || !call)
		return 0;
	bytes = file__named(s, task, KIND_CHMOD, at_call ? (__s32)call->args[0] : AT_FDCWD,
			    at_call ? call->args[1] : call->args[0]);
	record = scratch__current();
	if (!record || !bytes)
		return 0;
	named = (struct ravn_named *)record->body;
	named->mode = at_call ? call->args[2] : call->args[1];
	RECORD_SUBMIT(s, file_events, record, bytes, STREAM_FILE);
	return 0;
}

static __noinline int file__descriptor_mode_changed(struct cpu_state *s, struct task_struct *task,
						    struct call *call)
{
	struct scratch *record;
	struct ravn_named *named;
	struct file *file;

	if (!s || !call)
		return 0;
	file = file__of(task, call->args[0]);
	if (!file)
		return 0;
	record = record__begin(s, task, KIND_CHMOD, STREAM_FILE);
	if (!record)
		return 0;
	named = (struct ravn_named *)record->body;
	__builtin_memset(named, 0, sizeof(*named));
	named->ino = file->f_inode->i_ino;
	named->dev = file->f_inode->i_sb->s_dev;
	named->mode = call->args[1];
	named->resolved = 1;
	named->path_len = append__file_path(sizeof(*named), file);
	RECORD_SUBMIT(s, file_events, record, sizeof(*named) + (named->path_len & LEN_MASK), STREAM_FILE);
	return 0;
}

/* Only what was done counts; a refused call stands in the sequence, with its outcome. */
MONITOR int file__sys_exit(struct cpu_state *s, struct task_struct *task, struct call *call, __u32 action)
{
	if (call->ret < 0)
		return 0;
	switch (action) {
	case ACT_OPEN:
		return call->args[1] & O_WRITES ? file__opened(s, task, call->ret) : 0;
	case ACT_OPENAT:
		return call->args[2] & O_WRITES ? file__opened(s, task, call->ret) : 0;
	case ACT_OPENAT2:
	case ACT_CREAT:
		return file__opened(s, task, call->ret);
	case ACT_UNLINK:
		return file__unlinked(s, task, call, false);
	case ACT_UNLINKAT:
		return file__unlinked(s, task, call, true);
	case ACT_RENAME:
		return file__renamed(s, task, call, false);
	case ACT_RENAMEAT:
		return file__renamed(s, task, call, true);
	case ACT_CHMOD:
		return file__mode_changed(s, task, call, false);
	case ACT_FCHMODAT:
		return file__mode_changed(s, task, call, true);
	case ACT_FCHMOD:
		return file__descriptor_mode_changed(s, task, call);
	}
	return 0;
}
