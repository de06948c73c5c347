/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs write and the collector reads: one header, one payload per
 * kind, then the strings that the payload gives the lengths of, in its order.
 *
 * Fixed widths, no implicit padding, no includes. collector/src/abi/ reads it field by
 * field, and the kernel tests compare every field with the truth; the numbers of kinds, streams and reasons
 * are wire values, see shared/src/kind.rs.
 */
#ifndef RAVN_ABI_H
#define RAVN_ABI_H

enum ravn_stream {
	STREAM_SYSCALL = 0,
	STREAM_SEQUENCE = 1,
	STREAM_FILE = 2,
	STREAM_NETWORK = 3,
	STREAM_SECURITY = 4,
	STREAMS = 5,
};

enum ravn_reason {
	LOST_RING_FULL = 0,
	LOST_SCRATCH_FULL = 1,
	LOST_RECURSION = 2,
	LOST_BUDGET = 3,
	REASONS = 4,
};

/* The attached programs, by their hit counter in cpu_state. */
enum ravn_hook {
	HOOK_SYS_EXIT = 0,
	HOOK_MIGRATE = 1,
	HOOK_FORK = 2,
	HOOK_EXEC = 3,
	HOOK_EXIT = 4,
	HOOK_CGROUP = 5,
	HOOK_SOCKET = 6,
	HOOK_SIGNAL = 7,
	HOOK_IO_URING = 8,
	HOOKS = 16,
};

enum ravn_kind {
	KIND_FORK = 1,
	KIND_EXEC = 2,
	KIND_EXIT = 3,
	KIND_CGROUP = 4,
	KIND_CHUNK = 16,
	KIND_OPEN = 32,
	KIND_UNLINK = 33,
	KIND_RENAME = 34,
	KIND_CHMOD = 35,
	KIND_LINK = 36,
	KIND_SYMLINK = 37,
	KIND_CHOWN = 38,
	KIND_TRUNCATE = 39,
	KIND_SETXATTR = 40,
	KIND_MKNOD = 41,
	KIND_READ = 42,
	KIND_CONNECT = 48,
	KIND_ACCEPT = 49,
	KIND_BIND = 50,
	KIND_LISTEN = 51,
	KIND_SEND = 52,
	KIND_CLOSE = 53,
	KIND_DNS = 54,
	KIND_RAW_SOCKET = 55,
	KIND_CREDS = 64,
	KIND_PTRACE = 65,
	KIND_MEMFD = 66,
	KIND_DUP_SOCKET = 67,
	KIND_MOUNT = 68,
	KIND_MODULE = 69,
	KIND_BPF = 70,
	KIND_VM_WRITE = 71,
	KIND_PIVOT_ROOT = 72,
	KIND_UNSHARE = 73,
	KIND_SETNS = 74,
	KIND_EXEC_MEMORY = 75,
	KIND_KILL = 76,
	KIND_KEYCTL = 77,
	KIND_KEXEC = 78,
	KIND_PERF_EVENT_OPEN = 79,
	KIND_USERFAULTFD = 80,
	KIND_IO_URING = 81,
	KIND_IO_URING_OP = 82,
	KIND_COMPAT = 83,
	KIND_PROCESS = 96,
};

/* Set in a length when the string did not fit and was cut. */
#define LEN_CUT 0x80000000u
/* A path is written leaf first, a slash after each name. Set when it hangs from no
 * root: a memfd, whose one name is then all there is. */
#define LEN_ROOTLESS 0x40000000u
#define LEN_MASK 0x0000ffffu

struct ravn_hdr {
	__u64 n;
	__u64 time_ns;
	__u64 start_ns;
	__u64 parent_start_ns;
	__u64 cgroup_id;
	__u64 first_n;
	__u32 word;
	__u32 tgid;
	__u32 pid;
	__u32 parent_tgid;
	__u32 uid;
	__u32 gid;
	__u16 kind;
	__u16 cpu;
	__u32 len;
	__u8 comm[16];
};

struct ravn_fork {
	__u64 child_start_ns;
	__u32 child_tgid;
	__u32 child_pid;
	__u32 thread;
	__u32 pad;
};

/* Strings: path, cwd, filename, argv, interpreter. */
struct ravn_exec {
	__u64 ino;
	__u64 cap_effective;
	__u64 cap_gained;
	__s64 ctime_sec;
	__u32 dev;
	__u32 flags;
	__u32 euid;
	__u32 egid;
	__u32 loginuid;
	__u32 session;
	__u32 tty;
	__u32 argv_bytes;
	__u32 path_len;
	__u32 cwd_len;
	__u32 filename_len;
	__u32 argv_len;
	__u8 stdio[3];
	__u8 peer_len;
	__u16 peer_port;
	__u16 pad;
	__u8 peer[16];
	__u32 ctime_nsec;
	__u32 interpreter_len;
	__u32 euid_before;
	__u32 user_ns_level;
};

#define EXEC_DELETED 1
#define EXEC_MEMFD 2
#define EXEC_SECURE 4
#define EXEC_ARGV_UNREADABLE 32
/* euid_before and cap_gained are known: the process was seen before this exec. */
#define EXEC_BEFORE_KNOWN 64

enum ravn_stdio {
	STDIO_NONE = 0,
	STDIO_FILE = 1,
	STDIO_TTY = 2,
	STDIO_PIPE = 3,
	STDIO_UNIX = 4,
	STDIO_INET = 5,
	STDIO_DEVICE = 6,
	STDIO_OTHER = 7,
};

/* Strings: path, as the kernel writes it (root first). */
struct ravn_cgroup {
	__u64 id;
	__u32 path_len;
	__u32 pad;
};

struct ravn_exit {
	__u64 thread_start_ns;
	__u32 status;
	__u32 process;
};

/* Then len - sizeof(ravn_hdr) - sizeof(ravn_chunk) bytes of words. */
struct ravn_chunk {
	__u32 count;
	__u32 ticks;
};

/* Strings: path. */
struct ravn_open {
	__u64 ino;
	__u32 dev;
	__u32 flags;
	__u32 mode;
	__u32 created;
	__u32 path_len;
	__u32 pad;
};

/*
 * Calls that name a file. Strings: dir, path, then the second name: to_dir, to_path (a
 * rename, a link), or to_path alone (where a symlink leads, an attribute's name). A resolved
 * path is written as path_len with no dir. `mode`, `value` and `flags` are arguments, see
 * the table in file_monitor.bpf.c.
 */
struct ravn_named {
	__u64 ino;
	__u64 value;
	__u32 dev;
	__u32 mode;
	__u32 resolved;
	__u32 flags;
	__u32 dir_len;
	__u32 path_len;
	__u32 to_dir_len;
	__u32 to_path_len;
};

/* Strings, for a Unix socket: local, remote. */
struct ravn_socket {
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 local_port;
	__u16 remote_port;
	__u16 as_given;
	__s32 ret;
	__u32 local_len;
	__u32 remote_len;
	__s32 old_fd;
	__s32 new_fd;
	__u8 local[16];
	__u8 remote[16];
};

/* The rest of a question to a name server: a socket, then this, then the name with dots. */
struct ravn_dns {
	struct ravn_socket socket;
	__u32 name_len;
	__u16 type;
	__u8 pad;
	/* Length of the first label: the question is copied from here on, so that the name
	 * begins right behind the payload. */
	__u8 first_label;
};

/* A connection's end. The header is of who connected or accepted. */
struct ravn_close {
	struct ravn_socket socket;
	__u64 sent;
	__u64 received;
	__u64 duration_ns;
};

/* Who a process is: real, effective, saved, file-system ids, initial namespace. */
struct ravn_ids {
	__u64 cap_effective;
	__u64 cap_permitted;
	__u32 uids[4];
	__u32 gids[4];
	__u32 user_ns;
	__u32 user_ns_level;
};

struct ravn_creds {
	struct ravn_ids before;
	struct ravn_ids after;
	__s32 ret;
	__u32 syscall;
	__u32 before_known;
	__u32 pad;
};

/* Another process, in the initial pid namespace; all zero when it was not found. */
struct ravn_target {
	__u64 start_ns;
	__u32 tgid;
	__u32 pid;
	__u32 uid;
	__u32 pad;
	__u8 comm[16];
};

/*
 * The plain acts of the security stream: up to three numbers, another process, two
 * strings. What the numbers are, acts.bpf.c says for each kind.
 */
struct ravn_act {
	__u64 numbers[3];
	__s64 ret;
	struct ravn_target target;
	__u32 syscall;
	__u32 first_len;
	__u32 second_len;
	__u32 pad;
};

/* Strings: name. */
struct ravn_memfd {
	__u64 ino;
	__u32 flags;
	__s32 ret;
	__u32 name_len;
	__u32 pad;
};

/* Strings: source, target, fstype. */
struct ravn_mount {
	__u64 flags;
	__s32 ret;
	__u32 source_len;
	__u32 target_len;
	__u32 fstype_len;
};

/* Strings: name. */
struct ravn_module {
	__u32 syscall;
	__s32 ret;
	__u32 name_len;
	__u32 pad;
};

struct ravn_bpf {
	__u32 command;
	__u32 object_type;
	__s32 ret;
	__u32 pad;
};

#define ABI_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
ABI_SIZE(ravn_hdr, 96);
ABI_SIZE(ravn_fork, 24);
ABI_SIZE(ravn_exec, 120);
ABI_SIZE(ravn_cgroup, 16);
ABI_SIZE(ravn_exit, 16);
ABI_SIZE(ravn_chunk, 8);
ABI_SIZE(ravn_open, 32);
ABI_SIZE(ravn_named, 48);
ABI_SIZE(ravn_socket, 64);
ABI_SIZE(ravn_dns, 72);
ABI_SIZE(ravn_close, 88);
ABI_SIZE(ravn_ids, 56);
ABI_SIZE(ravn_creds, 128);
ABI_SIZE(ravn_target, 40);
ABI_SIZE(ravn_act, 88);
ABI_SIZE(ravn_memfd, 24);
ABI_SIZE(ravn_mount, 24);
ABI_SIZE(ravn_module, 16);
ABI_SIZE(ravn_bpf, 16);

/* What configuration leaves out: the map filter, one element, written by the collector. */
struct ravn_filter {
	/* Bit n is set if kind n is off: kinds of little value alone. */
	__u64 kinds_off[2];
	/* Whether excluded_programs and excluded_cgroups hold anything. */
	__u32 programs;
	__u32 cgroups;
	/* Records of little value that a process may make in about a second; 0: any number. */
	__u32 budget;
	__u32 pad;
};

/* A program, by its image and its last change: key of excluded_programs. dev as the kernel has
 * it. */
struct ravn_image {
	__u64 ino;
	__s64 ctime_sec;
	__u32 ctime_nsec;
	__u32 dev;
};

/* Value of budgets. */
struct ravn_budget {
	__u64 window;
	__u32 used;
	__u32 pad;
};

/* A CPU's share of a process' budget: taken from it in one go, so that a record needs no
 * look-up. */
struct ravn_share {
	__u64 window;
	__u32 tgid;
	__u32 left;
};

/* Key of cuts. */
struct ravn_cut {
	__u32 tgid;
	__u32 kind;
};
ABI_SIZE(ravn_filter, 32);
ABI_SIZE(ravn_image, 24);
ABI_SIZE(ravn_budget, 16);
ABI_SIZE(ravn_share, 16);
ABI_SIZE(ravn_cut, 8);

/* Words of a chunk: bytes that one flush may carry, and the room behind them for
 * the largest single step (a definition, a time mark, a syscall: 34 + 4 + 2). */
#define CHUNK_BYTES 4096
#define CHUNK_SLACK 64
#define SLOTS 64

/* One thread that the open chunk knows. 32 bytes. */
struct slot {
	__u64 regs;
	__u64 task;
	__u32 generation;
	__u32 skip;
	__u64 pad;
};

/*
 * Everything that one CPU keeps: the map cpu_state, one element. The collector
 * reads the counters and the position; only programs write.
 */
struct cpu_state {
	__u64 key;
	__u64 task;
	__u64 skip;
	__u64 skip_task;
	__u64 scratch_key;
	__u64 first_n;
	__u64 opened_jiffies;
	__u64 marked_jiffies;
	__u32 pos;
	__u32 busy;
	__u32 generation;
	__u32 pad;
	__u64 taken[STREAMS];
	__u64 lost[STREAMS][REASONS];
	/* Counted off the path where a thread's run continues: there a hit would cost. */
	__u64 hits[HOOKS];
	struct ravn_share share;
	struct slot slots[SLOTS];
	struct ravn_hdr chunk_hdr;
	struct ravn_chunk chunk;
	__u8 words[CHUNK_BYTES + CHUNK_SLACK];
};
ABI_SIZE(cpu_state, 80 + 40 + 160 + 128 + 16 + 2048 + 96 + 8 + 4160);

/* What a restart or a SIGHUP may change: the map settings, one element, written by the
 * collector alone. */
struct ravn_settings {
	/* Bytes in the ring above which chunks are refused. */
	__u64 chunk_ring_limit;
	/* Only the cgroups of only_cgroups are looked at. */
	__u32 narrowed;
	/* The collector's thread whose acts prove that the rings live: always looked at. */
	__u32 prover;
};
ABI_SIZE(ravn_settings, 16);

/*
 * The map meta, one element, shared by all loads of an instance. Its layout is for ever: a
 * later version reads it, and programs of an earlier one go by active_load.
 */
struct ravn_meta {
	/* The load that records; others are attached and silent. */
	__u64 active_load;
	/* Of that load: bit n is set if the hook with that number is attached. */
	__u64 hooks;
	/* SHA-256 of the linked object and this header. */
	__u8 digest[32];
};
ABI_SIZE(ravn_meta, 48);

#endif
