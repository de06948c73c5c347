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
	ACT_RENAMEAT2,
	ACT_LINK,
	ACT_LINKAT,
	ACT_SYMLINK,
	ACT_SYMLINKAT,
	ACT_CHMOD,
	ACT_FCHMOD,
	ACT_FCHMODAT,
	ACT_CHOWN,
	ACT_FCHOWN,
	ACT_FCHOWNAT,
	ACT_TRUNCATE,
	ACT_FTRUNCATE,
	ACT_MKNOD,
	ACT_MKNODAT,
	ACT_SETXATTR,
	ACT_FSETXATTR,
	ACT_SETXATTRAT,
	ACT_REMOVEXATTR,
	ACT_FREMOVEXATTR,
	ACT_REMOVEXATTRAT,
	ACT_NETWORK = 32,
	ACT_CONNECT = ACT_NETWORK,
	ACT_ACCEPT,
	ACT_BIND,
	ACT_LISTEN,
	ACT_SOCKETCALL,
	ACT_SENDTO,
	ACT_SENDMSG,
	ACT_SENDMMSG,
	/* Frequent and seldom an event: looked at before anything is done for them. */
	ACT_SELDOM,
	ACT_WRITE = ACT_SELDOM,
	ACT_WRITEV,
	ACT_SOCKET,
	ACT_MMAP,
	ACT_SECURITY = ACT_MMAP,
	ACT_MPROTECT,
	ACT_SELDOM_LAST = ACT_MPROTECT,
	ACT_CREDS,
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
	ACT_VM_READ,
	ACT_VM_WRITE,
	ACT_PIVOT_ROOT,
	ACT_UNSHARE,
	ACT_SETNS,
	ACT_KEYCTL,
	ACT_KEXEC,
	ACT_KEXEC_FILE,
	ACT_PERF_EVENT_OPEN,
	ACT_USERFAULTFD,
	ACT_IO_URING,
};

#if defined(__TARGET_ARCH_x86)
/* arch/x86/entry/syscalls/syscall_64.tbl */
static const volatile __u8 actions[CALLS] = {
	[1] = ACT_WRITE,
	[2] = ACT_OPEN,
	[9] = ACT_MMAP,
	[10] = ACT_MPROTECT,
	[20] = ACT_WRITEV,
	[32] = ACT_DUP,
	[33] = ACT_DUP, /* dup2 */
	[41] = ACT_SOCKET,
	[42] = ACT_CONNECT,
	[43] = ACT_ACCEPT,
	[44] = ACT_SENDTO,
	[46] = ACT_SENDMSG,
	[49] = ACT_BIND,
	[50] = ACT_LISTEN,
	[56] = ACT_NEW, /* clone */
	[57] = ACT_NEW, /* fork */
	[58] = ACT_NEW, /* vfork */
	[59] = ACT_NEW, /* execve, and execveat once it succeeded */
	[72] = ACT_FCNTL,
	[76] = ACT_TRUNCATE,
	[77] = ACT_FTRUNCATE,
	[82] = ACT_RENAME,
	[84] = ACT_UNLINK, /* rmdir */
	[85] = ACT_CREAT,
	[86] = ACT_LINK,
	[87] = ACT_UNLINK,
	[88] = ACT_SYMLINK,
	[90] = ACT_CHMOD,
	[91] = ACT_FCHMOD,
	[92] = ACT_CHOWN,
	[93] = ACT_FCHOWN,
	[94] = ACT_CHOWN, /* lchown */
	[101] = ACT_PTRACE,
	[105] = ACT_CREDS, /* setuid */
	[106] = ACT_CREDS, /* setgid */
	[113] = ACT_CREDS, /* setreuid */
	[114] = ACT_CREDS, /* setregid */
	[116] = ACT_CREDS, /* setgroups */
	[117] = ACT_CREDS, /* setresuid */
	[119] = ACT_CREDS, /* setresgid */
	[122] = ACT_CREDS, /* setfsuid */
	[123] = ACT_CREDS, /* setfsgid */
	[126] = ACT_CREDS, /* capset */
	[133] = ACT_MKNOD,
	[155] = ACT_PIVOT_ROOT,
	[165] = ACT_MOUNT,
	[175] = ACT_INIT_MODULE,
	[176] = ACT_DELETE_MODULE,
	[188] = ACT_SETXATTR,
	[189] = ACT_SETXATTR, /* lsetxattr */
	[190] = ACT_FSETXATTR,
	[197] = ACT_REMOVEXATTR,
	[198] = ACT_REMOVEXATTR, /* lremovexattr */
	[199] = ACT_FREMOVEXATTR,
	[246] = ACT_KEXEC,
	[250] = ACT_KEYCTL,
	[257] = ACT_OPENAT,
	[259] = ACT_MKNODAT,
	[260] = ACT_FCHOWNAT,
	[263] = ACT_UNLINKAT,
	[264] = ACT_RENAMEAT,
	[265] = ACT_LINKAT,
	[266] = ACT_SYMLINKAT,
	[268] = ACT_FCHMODAT,
	[272] = ACT_UNSHARE,
	[288] = ACT_ACCEPT, /* accept4 */
	[292] = ACT_DUP,    /* dup3 */
	[298] = ACT_PERF_EVENT_OPEN,
	[307] = ACT_SENDMMSG,
	[308] = ACT_SETNS,
	[310] = ACT_VM_READ,  /* process_vm_readv */
	[311] = ACT_VM_WRITE, /* process_vm_writev */
	[313] = ACT_FINIT_MODULE,
	[316] = ACT_RENAMEAT2,
	[319] = ACT_MEMFD,
	[320] = ACT_KEXEC_FILE,
	[321] = ACT_BPF,
	[322] = ACT_NEW, /* execveat */
	[323] = ACT_USERFAULTFD,
	[329] = ACT_MPROTECT, /* pkey_mprotect */
	[425] = ACT_IO_URING, /* io_uring_setup */
	[429] = ACT_MOVE_MOUNT,
	[435] = ACT_NEW, /* clone3 */
	[437] = ACT_OPENAT2,
	[452] = ACT_FCHMODAT, /* fchmodat2 */
	[463] = ACT_SETXATTRAT,
	[466] = ACT_REMOVEXATTRAT,
};

/* arch/x86/entry/syscalls/syscall_32.tbl. Its sendmsg, sendmmsg and writev have structures of
 * another layout, and are left out. */
static const volatile __u8 compat_actions[CALLS] = {
	[2] = ACT_NEW, /* fork */
	[4] = ACT_WRITE,
	[5] = ACT_OPEN,
	[8] = ACT_CREAT,
	[9] = ACT_LINK,
	[10] = ACT_UNLINK,
	[11] = ACT_NEW, /* execve */
	[14] = ACT_MKNOD,
	[15] = ACT_CHMOD,
	[16] = ACT_CHOWN, /* lchown16 */
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
	[81] = ACT_CREDS, /* setgroups16 */
	[83] = ACT_SYMLINK,
	[92] = ACT_TRUNCATE,
	[93] = ACT_FTRUNCATE,
	[94] = ACT_FCHMOD,
	[95] = ACT_FCHOWN, /* fchown16 */
	[102] = ACT_SOCKETCALL,
	[120] = ACT_NEW, /* clone */
	[125] = ACT_MPROTECT,
	[128] = ACT_INIT_MODULE,
	[129] = ACT_DELETE_MODULE,
	[138] = ACT_CREDS,     /* setfsuid16 */
	[139] = ACT_CREDS,     /* setfsgid16 */
	[164] = ACT_CREDS,     /* setresuid16 */
	[170] = ACT_CREDS,     /* setresgid16 */
	[182] = ACT_CHOWN,     /* chown16 */
	[185] = ACT_CREDS,     /* capset */
	[190] = ACT_NEW,       /* vfork */
	[192] = ACT_MMAP,      /* mmap2 */
	[193] = ACT_TRUNCATE,  /* truncate64, the low half of the length */
	[194] = ACT_FTRUNCATE, /* ftruncate64, likewise */
	[198] = ACT_CHOWN,     /* lchown32 */
	[203] = ACT_CREDS,     /* setreuid32 */
	[204] = ACT_CREDS,     /* setregid32 */
	[206] = ACT_CREDS,     /* setgroups32 */
	[207] = ACT_FCHOWN,    /* fchown32 */
	[208] = ACT_CREDS,     /* setresuid32 */
	[210] = ACT_CREDS,     /* setresgid32 */
	[212] = ACT_CHOWN,     /* chown32 */
	[213] = ACT_CREDS,     /* setuid32 */
	[214] = ACT_CREDS,     /* setgid32 */
	[215] = ACT_CREDS,     /* setfsuid32 */
	[216] = ACT_CREDS,     /* setfsgid32 */
	[217] = ACT_PIVOT_ROOT,
	[221] = ACT_FCNTL, /* fcntl64 */
	[226] = ACT_SETXATTR,
	[227] = ACT_SETXATTR, /* lsetxattr */
	[228] = ACT_FSETXATTR,
	[235] = ACT_REMOVEXATTR,
	[236] = ACT_REMOVEXATTR, /* lremovexattr */
	[237] = ACT_FREMOVEXATTR,
	[283] = ACT_KEXEC,
	[288] = ACT_KEYCTL,
	[295] = ACT_OPENAT,
	[297] = ACT_MKNODAT,
	[298] = ACT_FCHOWNAT,
	[301] = ACT_UNLINKAT,
	[302] = ACT_RENAMEAT,
	[303] = ACT_LINKAT,
	[304] = ACT_SYMLINKAT,
	[306] = ACT_FCHMODAT,
	[310] = ACT_UNSHARE,
	[330] = ACT_DUP, /* dup3 */
	[336] = ACT_PERF_EVENT_OPEN,
	[346] = ACT_SETNS,
	[347] = ACT_VM_READ,
	[348] = ACT_VM_WRITE,
	[350] = ACT_FINIT_MODULE,
	[353] = ACT_RENAMEAT2,
	[356] = ACT_MEMFD,
	[357] = ACT_BPF,
	[358] = ACT_NEW, /* execveat */
	[359] = ACT_SOCKET,
	[361] = ACT_BIND,
	[362] = ACT_CONNECT,
	[363] = ACT_LISTEN,
	[364] = ACT_ACCEPT, /* accept4 */
	[369] = ACT_SENDTO,
	[374] = ACT_USERFAULTFD,
	[380] = ACT_MPROTECT, /* pkey_mprotect */
	[425] = ACT_IO_URING, /* io_uring_setup */
	[429] = ACT_MOVE_MOUNT,
	[435] = ACT_NEW, /* clone3 */
	[437] = ACT_OPENAT2,
	[452] = ACT_FCHMODAT, /* fchmodat2 */
	[463] = ACT_SETXATTRAT,
	[466] = ACT_REMOVEXATTRAT,
};
#endif

#endif
