// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What is done to files: opened to write, created, removed, renamed, linked, given another
 * mode, owner, length or attribute; and the reading of those that the configuration
 * names. Opens and calls with a descriptor show the kernel's file; calls that only name a
 * path show the name as given, and the directory that a relative one starts from.
 */
#include "common.bpf.h"
#include "calls.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} file_events SEC(".maps");

/*
 * Files whose opening for reading is reported. The collector fills the maps, then sets in
 * `sensitive` a bit for each key: where that is not set nothing is looked up. A key of
 * `sensitive_files` is the file's inode and device, the latter as the kernel has it
 * (major << 20 | minor); one of `sensitive_names` a last component, of at most 31
 * bytes, filled up with zeros. Values are 1. collector/src/filter.rs has the same hash.
 */
struct sensitive_file {
	__u64 ino;
	__u32 dev;
	__u32 pad;
};

struct sensitive_name {
	__u8 bytes[32];
};

#define BITS 1024

struct sensitive {
	__u32 files;
	__u32 names;
	__u64 file_bits[BITS / 64];
	__u64 name_bits[BITS / 64];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sensitive);
} sensitive SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sensitive_file);
	__type(value, __u8);
} sensitive_files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct sensitive_name);
	__type(value, __u8);
} sensitive_names SEC(".maps");

#define O_WRITES (1 | 2 | O_CREAT | O_TRUNC)

/* Multiplicative hashing (Knuth, The Art of Computer Programming, 6.4): the golden ratio's
 * fraction as 64 bits, of whose product the highest bits are the best mixed. */
static __always_inline bool bit__set(const __u64 *bits, __u64 key)
{
	__u32 bit = key * 0x9e3779b97f4a7c15 >> 54;

	return bits[bit >> 6] >> (bit & 63) & 1;
}

/* The last component of the path that the kernel opened. */
static __always_inline bool name__sensitive(struct sensitive *wanted, struct dentry *dentry)
{
	const unsigned char *name = dentry->d_name.name;
	struct sensitive_name key = {};
	__u32 len = dentry->d_name.len;
	/* Whatever lies behind a shorter name belongs to the dentry: its names have 32 bytes or
	 * more. */
	__u64 first = load_word(name);

	if (len >= sizeof(key))
		return false;
	barrier_var(len);
	if (len < 8)
		first &= (1ull << 8 * (len & 7)) - 1;
	if (!bit__set(wanted->name_bits, first + len))
		return false;
	bpf_probe_read_kernel(&key, len & (sizeof(key) - 1), name);
	return bpf_map_lookup_elem(&sensitive_names, &key);
}

static __always_inline bool inode__sensitive(struct sensitive *wanted, struct inode *inode)
{
	struct sensitive_file key = {.ino = inode->i_ino};

	if (!bit__set(wanted->file_bits, key.ino))
		return false;
	key.dev = inode->i_sb->s_dev;
	return bpf_map_lookup_elem(&sensitive_files, &key);
}

static __always_inline bool file__sensitive(struct file *file)
{
	struct sensitive *wanted = THE(sensitive);

	if (!wanted || !(file->f_mode & FMODE_READ))
		return false;
	return (wanted->files && inode__sensitive(wanted, file->f_inode)) ||
	       (wanted->names && name__sensitive(wanted, file->f_path.dentry));
}

static __always_inline int file__opened(__s64 fd)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = file__of(task, fd);
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_open *open;
	bool created, writes;

	if (!s || !file)
		return 0;
	created = file->f_mode & FMODE_CREATED;
	/* O_CREAT on a file that was there, opened for reading alone, changes nothing. */
	writes = (file->f_flags & O_ACCMODE) || created;
	if (!writes && !file__sensitive(file))
		return 0;
	record = record__begin(s, task, writes ? KIND_OPEN : KIND_READ, STREAM_FILE);
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

/* Which argument of a call is what. Without a path the first is a descriptor; a second name
 * without a directory of its own is a text. */
struct shape {
	__u8 kind;
	__u8 dirfd;
	__u8 path;
	__u8 to_dirfd;
	__u8 to;
	/* What these three are is the kind's: see docs/wire.md. */
	__u8 mode;
	__u8 value;
	__u8 flags;
};

#define CWD ARG_CWD
#define NONE ARG_NONE

static const volatile struct shape shapes[ACT_NETWORK] = {
	[ACT_UNLINK] = {KIND_UNLINK, CWD, 0, NONE, NONE, NONE, NONE, NONE},
	[ACT_UNLINKAT] = {KIND_UNLINK, 0, 1, NONE, NONE, NONE, NONE, NONE},
	[ACT_RENAME] = {KIND_RENAME, CWD, 0, CWD, 1, NONE, NONE, NONE},
	[ACT_RENAMEAT] = {KIND_RENAME, 0, 1, 2, 3, NONE, NONE, NONE},
	[ACT_RENAMEAT2] = {KIND_RENAME, 0, 1, 2, 3, NONE, NONE, 4},
	[ACT_LINK] = {KIND_LINK, CWD, 0, CWD, 1, NONE, NONE, NONE},
	[ACT_LINKAT] = {KIND_LINK, 0, 1, 2, 3, NONE, NONE, 4},
	[ACT_SYMLINK] = {KIND_SYMLINK, CWD, 1, NONE, 0, NONE, NONE, NONE},
	[ACT_SYMLINKAT] = {KIND_SYMLINK, 1, 2, NONE, 0, NONE, NONE, NONE},
	[ACT_CHMOD] = {KIND_CHMOD, CWD, 0, NONE, NONE, 1, NONE, NONE},
	[ACT_FCHMOD] = {KIND_CHMOD, 0, NONE, NONE, NONE, 1, NONE, NONE},
	[ACT_FCHMODAT] = {KIND_CHMOD, 0, 1, NONE, NONE, 2, NONE, NONE},
	[ACT_CHOWN] = {KIND_CHOWN, CWD, 0, NONE, NONE, 1, NONE, 2},
	[ACT_FCHOWN] = {KIND_CHOWN, 0, NONE, NONE, NONE, 1, NONE, 2},
	[ACT_FCHOWNAT] = {KIND_CHOWN, 0, 1, NONE, NONE, 2, NONE, 3},
	[ACT_TRUNCATE] = {KIND_TRUNCATE, CWD, 0, NONE, NONE, NONE, 1, NONE},
	[ACT_FTRUNCATE] = {KIND_TRUNCATE, 0, NONE, NONE, NONE, NONE, 1, NONE},
	[ACT_TRUNCATE64] = {KIND_TRUNCATE, CWD, 0, NONE, NONE, NONE, PAIR, NONE},
	[ACT_FTRUNCATE64] = {KIND_TRUNCATE, 0, NONE, NONE, NONE, NONE, PAIR, NONE},
	[ACT_MKNOD] = {KIND_MKNOD, CWD, 0, NONE, NONE, 1, 2, NONE},
	[ACT_MKNODAT] = {KIND_MKNOD, 0, 1, NONE, NONE, 2, 3, NONE},
	[ACT_SETXATTR] = {KIND_SETXATTR, CWD, 0, NONE, 1, NONE, 3, NONE},
	[ACT_FSETXATTR] = {KIND_SETXATTR, 0, NONE, NONE, 1, NONE, 3, NONE},
	[ACT_SETXATTRAT] = {KIND_SETXATTR, 0, 1, NONE, 3, NONE, NONE, NONE},
	[ACT_REMOVEXATTR] = {KIND_SETXATTR, CWD, 0, NONE, 1, NONE, NONE, NONE},
	[ACT_FREMOVEXATTR] = {KIND_SETXATTR, 0, NONE, NONE, 1, NONE, NONE, NONE},
	[ACT_REMOVEXATTRAT] = {KIND_SETXATTR, 0, 1, NONE, 3, NONE, NONE, NONE},
};

/* The directory that a relative path starts from; nothing for an absolute path. */
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

/* The descriptor that a call is about instead of a path: it takes none, or was given an empty
 * one (AT_EMPTY_PATH). -1 when a path is what counts. */
static __always_inline __s32 call__descriptor(struct call *call, __u32 dirfd_at, __u32 path_at)
{
	__u64 path = call->args[path_at & ARG_MASK];
	__s32 dirfd = call->args[dirfd_at & ARG_MASK];
	__u8 first = 1;

	if (path_at == ARG_NONE)
		return dirfd;
	bpf_probe_read_user(&first, 1, (void *)path);
	return first || dirfd < 0 ? -1 : dirfd;
}

static __noinline int file__named(struct call *call, __u32 action)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const volatile struct shape *shape = &shapes[action & (ACT_NETWORK - 1)];
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_named *named;
	struct file *file = NULL;
	__u32 at = sizeof(*named);
	__s32 fd;

	if (!s || !call || !shape->kind)
		return 0;
	fd = call__descriptor(call, shape->dirfd, shape->path);
	if (fd >= 0) {
		file = file__of(task, fd);
		if (!file)
			return 0;
	}
	record = record__begin(s, task, shape->kind, STREAM_FILE);
	if (!record)
		return 0;
	named = (struct ravn_named *)record->body;
	__builtin_memset(named, 0, sizeof(*named));
	named->mode = call->args[shape->mode & ARG_MASK];
	named->value = call->args[shape->value & ARG_MASK];
	if (action == ACT_TRUNCATE64 || action == ACT_FTRUNCATE64)
		named->value |= call->args[PAIR + 1] << 32;
	named->flags = action == ACT_REMOVEXATTR || action == ACT_FREMOVEXATTR || action == ACT_REMOVEXATTRAT
			       ? 1
			       : call->args[shape->flags & ARG_MASK];
	if (file) {
		named->ino = file->f_inode->i_ino;
		named->dev = file->f_inode->i_sb->s_dev;
		named->resolved = 1;
		named->path_len = append__file_path(at, file);
	} else {
		__u64 path = call->args[shape->path & ARG_MASK];

		named->dir_len = append__start(task, at, call->args[shape->dirfd & ARG_MASK], path);
		at += named->dir_len & LEN_MASK;
		named->path_len = append__user_string(at, path);
	}
	at += named->path_len & LEN_MASK;
	if (shape->to != ARG_NONE) {
		__u64 to = call->args[shape->to & ARG_MASK];

		if (shape->to_dirfd != ARG_NONE)
			named->to_dir_len =
				append__start(task, at, call->args[shape->to_dirfd & ARG_MASK], to);
		at += named->to_dir_len & LEN_MASK;
		named->to_path_len = append__user_string(at, to);
		at += named->to_path_len & LEN_MASK;
	}
	RECORD_SUBMIT(s, file_events, record, at, STREAM_FILE);
	return 0;
}

/* Only what was done counts; a refused call stands in the sequence, with its outcome. */
int file__sys_exit(struct call *call, __u32 action)
{
	struct sensitive *reads;
	__u64 flags;

	if (!call || call->ret < 0)
		return 0;
	if (action > ACT_CREAT)
		return file__named(call, action);
	/* The flags of openat2 are in the caller's memory. */
	flags = action == ACT_OPEN ? call->args[1] : action == ACT_OPENAT ? call->args[2] : O_WRITES;
	reads = THE(sensitive);
	if (!(flags & O_WRITES) && !(reads && (reads->files || reads->names)))
		return 0;
	return file__opened(call->ret);
}
