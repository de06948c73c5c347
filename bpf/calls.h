/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which syscall means what: one byte per number and table. ACT_NEW marks those
 * after which a kernel stack may belong to another thread, or a thread be another
 * program; the rest of the byte names the event, by monitor.
 */
#ifndef RAVN_CALLS_H
#define RAVN_CALLS_H

#define CALLS 512
#define ACT_NEW 0x80
#define ACT_EVENT 0x7f

enum action {
	ACT_FILE = 1,
	ACT_OPEN = ACT_FILE,
	ACT_OPENAT,
	ACT_OPENAT2,
	ACT_CREAT,
	ACT_UNLINK,
	ACT_UNLINKAT,
	ACT_RENAME,
	ACT_RENAMEAT,
	ACT_CHMOD,
	ACT_FCHMOD,
	ACT_FCHMODAT,
	ACT_NETWORK = 32,
	ACT_CONNECT = ACT_NETWORK,
	ACT_ACCEPT,
	ACT_BIND,
	ACT_LISTEN,
	ACT_SECURITY = 64,
	ACT_CREDS = ACT_SECURITY,
	ACT_PTRACE,
	ACT_MEMFD,
	ACT_DUP,
	ACT_FCNTL,
	ACT_MOUNT,
	ACT_MOVE_MOUNT,
	ACT_INIT_MODULE,
	ACT_FINIT_MODULE,
	ACT_DELETE_MODULE,
	ACT_BPF,
};

#if defined(__TARGET_ARCH_x86)
/* arch/x86/entry/syscalls/syscall_64.tbl */
static const volatile __u8 actions[CALLS] = {
	[2] = ACT_OPEN,		  [32] = ACT_DUP,	   [33] = ACT_DUP,
	[42] = ACT_CONNECT,	  [43] = ACT_ACCEPT,	   [49] = ACT_BIND,
	[50] = ACT_LISTEN,	  [56] = ACT_NEW, /* clone */
	[57] = ACT_NEW,				  /* fork */
	[58] = ACT_NEW,				  /* vfork */
	[59] = ACT_NEW,				  /* execve, and execveat once it succeeded */
	[72] = ACT_FCNTL,	  [82] = ACT_RENAME,	   [84] = ACT_UNLINK, /* rmdir */
	[85] = ACT_CREAT,	  [87] = ACT_UNLINK,	   [90] = ACT_CHMOD,
	[91] = ACT_FCHMOD,	  [101] = ACT_PTRACE,	   [105] = ACT_CREDS, /* setuid */
	[106] = ACT_CREDS,						      /* setgid */
	[113] = ACT_CREDS,						      /* setreuid */
	[114] = ACT_CREDS,						      /* setregid */
	[117] = ACT_CREDS,						      /* setresuid */
	[119] = ACT_CREDS,						      /* setresgid */
	[122] = ACT_CREDS,						      /* setfsuid */
	[123] = ACT_CREDS,						      /* setfsgid */
	[126] = ACT_CREDS,						      /* capset */
	[165] = ACT_MOUNT,	  [175] = ACT_INIT_MODULE, [176] = ACT_DELETE_MODULE,
	[257] = ACT_OPENAT,	  [263] = ACT_UNLINKAT,	   [264] = ACT_RENAMEAT,
	[268] = ACT_FCHMODAT,	  [288] = ACT_ACCEPT,			    /* accept4 */
	[292] = ACT_DUP,						    /* dup3 */
	[313] = ACT_FINIT_MODULE, [316] = ACT_RENAMEAT,			    /* renameat2 */
	[319] = ACT_MEMFD,	  [321] = ACT_BPF,	   [322] = ACT_NEW, /* execveat */
	[429] = ACT_MOVE_MOUNT,	  [435] = ACT_NEW,			    /* clone3 */
	[437] = ACT_OPENAT2,	  [452] = ACT_FCHMODAT,			    /* fchmodat2 */
};

/* arch/x86/entry/syscalls/syscall_32.tbl */
static const volatile __u8 compat_actions[CALLS] = {
	[2] = ACT_NEW, /* fork */
	[5] = ACT_OPEN,
	[8] = ACT_CREAT,
	[10] = ACT_UNLINK,
	[11] = ACT_NEW, /* execve */
	[15] = ACT_CHMOD,
	[21] = ACT_MOUNT,
	[23] = ACT_CREDS, /* setuid16 */
	[26] = ACT_PTRACE,
	[38] = ACT_RENAME,
	[40] = ACT_UNLINK, /* rmdir */
	[41] = ACT_DUP,
	[46] = ACT_CREDS, /* setgid16 */
	[55] = ACT_FCNTL,
	[63] = ACT_DUP,	  /* dup2 */
	[70] = ACT_CREDS, /* setreuid16 */
	[71] = ACT_CREDS, /* setregid16 */
	[94] = ACT_FCHMOD,
	[120] = ACT_NEW, /* clone */
	[128] = ACT_INIT_MODULE,
	[129] = ACT_DELETE_MODULE,
	[138] = ACT_CREDS, /* setfsuid16 */
	[139] = ACT_CREDS, /* setfsgid16 */
	[164] = ACT_CREDS, /* setresuid16 */
	[170] = ACT_CREDS, /* setresgid16 */
	[185] = ACT_CREDS, /* capset */
	[190] = ACT_NEW,   /* vfork */
	[203] = ACT_CREDS, /* setreuid32 */
	[204] = ACT_CREDS, /* setregid32 */
	[208] = ACT_CREDS, /* setresuid32 */
	[210] = ACT_CREDS, /* setresgid32 */
	[213] = ACT_CREDS, /* setuid32 */
	[214] = ACT_CREDS, /* setgid32 */
	[215] = ACT_CREDS, /* setfsuid32 */
	[216] = ACT_CREDS, /* setfsgid32 */
	[221] = ACT_FCNTL, /* fcntl64 */
	[295] = ACT_OPENAT,
	[301] = ACT_UNLINKAT,
	[302] = ACT_RENAMEAT,
	[306] = ACT_FCHMODAT,
	[330] = ACT_DUP, /* dup3 */
	[350] = ACT_FINIT_MODULE,
	[353] = ACT_RENAMEAT, /* renameat2 */
	[356] = ACT_MEMFD,
	[357] = ACT_BPF,
	[358] = ACT_NEW, /* execveat */
	[361] = ACT_BIND,
	[362] = ACT_CONNECT,
	[363] = ACT_LISTEN,
	[364] = ACT_ACCEPT, /* accept4 */
	[429] = ACT_MOVE_MOUNT,
	[435] = ACT_NEW, /* clone3 */
	[437] = ACT_OPENAT2,
	[452] = ACT_FCHMODAT, /* fchmodat2 */
};
#endif

#endif
