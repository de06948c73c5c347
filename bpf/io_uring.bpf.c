// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Operations that io_uring does without a syscall of their own: files opened, removed, renamed,
 * linked, sockets made and connected. Told when they are submitted, because a caller can ask for
 * no completion; the names are the kernel's own copies by then. Part of the security monitor.
 */
#include "common.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* include/uapi/linux/io_uring.h, enum io_uring_op. */
enum {
	OP_ACCEPT = 13,
	OP_CONNECT = 16,
	OP_OPENAT = 18,
	OP_OPENAT2 = 28,
	OP_RENAMEAT = 35,
	OP_UNLINKAT = 36,
	OP_MKDIRAT = 37,
	OP_SYMLINKAT = 38,
	OP_LINKAT = 39,
	OP_FSETXATTR = 41,
	OP_SETXATTR = 42,
	OP_SOCKET = 45,
	OP_URING_CMD = 46,
	OP_FTRUNCATE = 55,
	OP_BIND = 56,
	OP_LISTEN = 57,
};

#define OPS_REPORTED                                                                             \
	(1ull << OP_ACCEPT | 1ull << OP_CONNECT | 1ull << OP_OPENAT | 1ull << OP_OPENAT2 |       \
	 1ull << OP_RENAMEAT | 1ull << OP_UNLINKAT | 1ull << OP_MKDIRAT | 1ull << OP_SYMLINKAT | \
	 1ull << OP_LINKAT | 1ull << OP_FSETXATTR | 1ull << OP_SETXATTR | 1ull << OP_SOCKET |    \
	 1ull << OP_URING_CMD | 1ull << OP_FTRUNCATE | 1ull << OP_BIND | 1ull << OP_LISTEN)

/* Bytes of an address that is looked at: sockaddr_in6. */
#define ADDRESS_BYTES 28

/* A name that the kernel copied from the caller. */
static __noinline __u32 append__name(struct scratch *record, __u32 at, struct filename *name)
{
	long read;

	if (!record || !name || at >= SCRATCH_BYTES)
		return 0;
	read = bpf_probe_read_kernel_str(record->body + INSIDE(at), USER_STRING_MAX,
					 bpf_core_cast(name, struct filename)->name);
	return read > 0 ? read - 1 : 0;
}

/* The address of a connect, from the caller's memory: where the kernel's own copy lies at this
 * time differs between versions, and what is read beside it is another request's. */
static __noinline __u32 append__address(struct scratch *record, __u32 at, struct io_kiocb *request)
{
	void *command = request;

	if (!record || at >= SCRATCH_BYTES)
		return 0;
	if (bpf_probe_read_user(record->body + INSIDE(at), ADDRESS_BYTES,
				bpf_core_cast(command, struct io_connect)->addr))
		return 0;
	return ADDRESS_BYTES;
}

/* Numbers: operation, the descriptor that it is for or starts from, domain << 32 | type of a new
 * socket. First: the name, of a rename or link the old one. Second: the new name, or
 * the address as a sockaddr. */
static __noinline int operation__fill(struct scratch *record, struct ravn_act *out, struct io_kiocb *request)
{
	__u32 at = sizeof(*out);
	struct filename *first = NULL, *second = NULL;
	void *command = request;

	out->numbers[1] = (__u32)request->cqe.fd;
	switch (request->opcode) {
	case OP_OPENAT:
	case OP_OPENAT2:
		out->numbers[1] = (__u32)bpf_core_cast(command, struct io_open)->dfd;
		first = bpf_core_cast(command, struct io_open)->filename;
		break;
	case OP_UNLINKAT:
		out->numbers[1] = (__u32)bpf_core_cast(command, struct io_unlink)->dfd;
		first = bpf_core_cast(command, struct io_unlink)->filename;
		break;
	case OP_MKDIRAT:
		out->numbers[1] = (__u32)bpf_core_cast(command, struct io_mkdir)->dfd;
		first = bpf_core_cast(command, struct io_mkdir)->filename;
		break;
	case OP_RENAMEAT:
		out->numbers[1] = (__u32)bpf_core_cast(command, struct io_rename)->old_dfd;
		first = bpf_core_cast(command, struct io_rename)->oldpath;
		second = bpf_core_cast(command, struct io_rename)->newpath;
		break;
	case OP_SYMLINKAT:
	case OP_LINKAT:
		out->numbers[1] = (__u32)bpf_core_cast(command, struct io_link)->old_dfd;
		first = bpf_core_cast(command, struct io_link)->oldpath;
		second = bpf_core_cast(command, struct io_link)->newpath;
		break;
	case OP_SOCKET:
		out->numbers[2] = (__u64)(__u32)bpf_core_cast(command, struct io_socket)->domain << 32 |
				  (__u32)bpf_core_cast(command, struct io_socket)->type;
		break;
	}
	out->first_len = append__name(record, at, first);
	at += out->first_len;
	out->second_len = append__name(record, at, second);
	if (request->opcode == OP_CONNECT)
		out->second_len = append__address(record, at, request);
	return at + out->second_len;
}

/* In io_submit_sqe, once the request was read from the caller's memory. The current task is who
 * submits, or a kernel thread of the same process. */
SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(handle__io_uring_submit_req, struct io_kiocb *request)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_act *out;
	__u32 opcode = request->opcode;

	if (opcode > 63 || !(OPS_REPORTED >> opcode & 1))
		return 0;
	if (!s)
		return 0;
	s->hits[HOOK_IO_URING]++;
	if (!task__wanted(task) || !cpu__enter(s, STREAM_SECURITY))
		return 0;
	record = record__begin(s, task, KIND_IO_URING_OP, STREAM_SECURITY);
	if (record) {
		out = (struct ravn_act *)record->body;
		__builtin_memset(out, 0, sizeof(*out));
		out->numbers[0] = opcode;
		security__submit(s, record, operation__fill(record, out, request));
	}
	cpu__leave(s);
	return 0;
}
