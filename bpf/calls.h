/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which syscall means what: one byte per number and table. ACT_NEW marks those
 * after which a kernel stack may belong to another thread, or a thread be another
 * program; the rest of the byte names the event, by monitor.
 */
#ifndef RAVN_CALLS_H
#define RAVN_CALLS_H

#define CALLS 1024
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
	/* Their length comes as two halves, of which PAIR is the first's place. */
	ACT_TRUNCATE64,
	ACT_FTRUNCATE64,
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
#include "calls_x86.h"
#elif defined(__TARGET_ARCH_arm64)
#include "calls_arm64.h"
#endif

#endif
