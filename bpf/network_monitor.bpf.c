// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Who speaks with whom: connect, accept, bind, listen. Addresses come from the
 * kernel's socket after the call; only a refused connection, of which the socket keeps
 * nothing, shows what the caller asked for.
 */
#include "common.bpf.h"
#include "calls.h"
#include "socket.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} network_events SEC(".maps");

/* Offsets of <netinet/in.h> and <sys/un.h>, the same in all three. */
#define SOCKADDR_PORT 2
#define SOCKADDR_IN_ADDR 4
#define SOCKADDR_IN6_ADDR 8
#define SOCKADDR_UN_PATH 2

/* The remote end as the caller gave it; stays empty where it cannot be read. */
static __noinline int socket__as_given(struct scratch *record, __u64 address)
{
	struct ravn_socket *out = (struct ravn_socket *)record->body;
	__u16 family = 0, port = 0;

	bpf_probe_read_user(&family, sizeof(family), (void *)address);
	out->as_given = 1;
	if (family == AF_UNIX) {
		out->remote_len = append__user_string(sizeof(*out) + (out->local_len & LEN_MASK),
						      address + SOCKADDR_UN_PATH);
		return 0;
	}
	bpf_probe_read_user(&port, sizeof(port), (void *)(address + SOCKADDR_PORT));
	out->remote_port = __builtin_bswap16(port);
	if (family == AF_INET && !bpf_probe_read_user(out->remote, 4, (void *)(address + SOCKADDR_IN_ADDR)))
		out->remote_len = 4;
	if (family == AF_INET6 &&
	    !bpf_probe_read_user(out->remote, 16, (void *)(address + SOCKADDR_IN6_ADDR)))
		out->remote_len = 16;
	return 0;
}

static __noinline int network__record(struct cpu_state *s, struct task_struct *task, struct call *call,
				      __u32 kind)
{
	struct scratch *record;
	struct ravn_socket *out;
	struct file *file;
	struct sock *sk;
	bool refused;

	if (!s || !call)
		return 0;
	file = file__of(task, kind == KIND_ACCEPT ? (__s32)call->ret : (__s32)call->args[0]);
	if (!file)
		return 0;
	sk = sock__of(file);
	if (!sk)
		return 0;
	record = record__begin(s, task, kind, STREAM_NETWORK);
	if (!record)
		return 0;
	out = (struct ravn_socket *)record->body;
	socket__fill(record, sk);
	out->ret = call->ret;
	refused = kind == KIND_CONNECT && call->ret < 0 && call->ret != -EINPROGRESS;
	if (refused) {
		out->remote_len = 0;
		socket__as_given(record, call->args[1]);
	}
	RECORD_SUBMIT(s, network_events, record, socket__bytes(out), STREAM_NETWORK);
	return 0;
}

MONITOR int network__sys_exit(struct cpu_state *s, struct task_struct *task, struct call *call, __u32 action)
{
	switch (action) {
	case ACT_CONNECT:
		/* Asked again about a connection that was reported when it began. */
		if (call->ret == -EALREADY || call->ret == -EISCONN)
			return 0;
		return network__record(s, task, call, KIND_CONNECT);
	case ACT_ACCEPT:
		return call->ret < 0 ? 0 : network__record(s, task, call, KIND_ACCEPT);
	case ACT_BIND:
		return call->ret < 0 ? 0 : network__record(s, task, call, KIND_BIND);
	case ACT_LISTEN:
		return call->ret < 0 ? 0 : network__record(s, task, call, KIND_LISTEN);
	}
	return 0;
}
