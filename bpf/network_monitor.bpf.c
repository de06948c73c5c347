// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Who speaks with whom: connect, accept, bind, listen, the end of a connection, raw and packet
 * sockets. Addresses come from the kernel's socket after the call; only a refused connection,
 * of which the socket keeps nothing, shows what the caller asked for.
 */
#include "common.bpf.h"
#include "calls.h"
#include "socket.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} network_events SEC(".maps");

/*
 * Who connected or accepted a TCP connection, by its socket's address: at its end, often in an
 * interrupt, the current task is anybody. Of more than this many open connections those that
 * were entered first go, and their end is not reported.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, struct ravn_hdr);
} connections SEC(".maps");

/* Numbers of socketcall(2). */
#define SYS_SOCKET 1
#define SYS_BIND 2
#define SYS_CONNECT 3
#define SYS_LISTEN 4
#define SYS_ACCEPT 5
#define SYS_SENDTO 11
#define SYS_ACCEPT4 18

int message__sys_exit(struct call *call, __u32 action);

MONITOR int network__submit(struct cpu_state *s, struct scratch *record, __u32 body_bytes)
{
	return s && record ? RECORD_SUBMIT(s, network_events, record, body_bytes, STREAM_NETWORK) : -1;
}

static __noinline int network__record(struct call *call, __u32 kind)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_socket *out;
	struct file *file;
	struct sock *sk;
	__u64 key;

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
	if (kind == KIND_CONNECT && call->ret < 0 && call->ret != -EINPROGRESS) {
		socket__as_given(record, call->args[1]);
	} else if ((kind == KIND_CONNECT || kind == KIND_ACCEPT) && sk->sk_protocol == IPPROTO_TCP &&
		   sk->__sk_common.skc_state != TCP_CLOSE) {
		key = (__u64)sk;
		bpf_map_update_elem(&connections, &key, &record->hdr, BPF_ANY);
	}
	network__submit(s, record, socket__bytes(out));
	return 0;
}

/* A socket that sees, or forges, what is not its own traffic. */
static __noinline int network__raw_socket(struct call *call)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_socket *out;

	if (!s || !call)
		return 0;
	/* Of a socketcall nobody has looked at it yet. */
	if ((__u32)call->args[0] != AF_PACKET &&
	    ((call->args[1] & SOCK_TYPE_MASK) != SOCK_RAW ||
	     ((__u32)call->args[0] != AF_INET && (__u32)call->args[0] != AF_INET6)))
		return 0;
	record = record__begin(s, task, KIND_RAW_SOCKET, STREAM_NETWORK);
	if (!record)
		return 0;
	out = (struct ravn_socket *)record->body;
	__builtin_memset(out, 0, sizeof(*out));
	out->family = call->args[0];
	out->type = call->args[1] & SOCK_TYPE_MASK;
	/* A packet socket's protocol is in network order. */
	out->protocol = out->family == AF_PACKET ? __builtin_bswap16(call->args[2]) : call->args[2];
	out->ret = call->ret;
	network__submit(s, record, sizeof(*out));
	return 0;
}

/* socketcall(2) of the 32-bit table: the call and its arguments are in memory. Those by
 * which something is reported that memory alone knows are left out. */
static __always_inline __u32 call__unpack(struct call *call)
{
	__u32 number = call->args[0], args[6] = {};
	/* As many words as the kernel itself reads: what lies behind may be no memory. */
	__u32 words = number == SYS_LISTEN ? 2 : number == SYS_SENDTO ? 6 : number == SYS_ACCEPT4 ? 4 : 3;

	if (bpf_probe_read_user(args, words * sizeof(args[0]), (void *)call->args[1]))
		return 0;
	for (__u32 at = 0; at < 6; at++)
		call->args[at] = args[at];
	switch (number) {
	case SYS_SOCKET:
		return ACT_SOCKET;
	case SYS_BIND:
		return ACT_BIND;
	case SYS_CONNECT:
		return ACT_CONNECT;
	case SYS_LISTEN:
		return ACT_LISTEN;
	case SYS_ACCEPT:
	case SYS_ACCEPT4:
		return ACT_ACCEPT;
	case SYS_SENDTO:
		return ACT_SENDTO;
	}
	return 0;
}

int network__sys_exit(struct call *call, __u32 action)
{
	if (!call)
		return 0;
	if (action == ACT_SOCKETCALL)
		action = call__unpack(call);
	switch (action) {
	case ACT_CONNECT:
		/* Asked again about a connection that was reported when it began. */
		if (call->ret == -EALREADY || call->ret == -EISCONN)
			return 0;
		return network__record(call, KIND_CONNECT);
	case ACT_ACCEPT:
		return call->ret < 0 ? 0 : network__record(call, KIND_ACCEPT);
	case ACT_BIND:
		return call->ret < 0 ? 0 : network__record(call, KIND_BIND);
	case ACT_LISTEN:
		return call->ret < 0 ? 0 : network__record(call, KIND_LISTEN);
	case ACT_SOCKET:
		return network__raw_socket(call);
	case ACT_SENDTO:
	case ACT_SENDMSG:
	case ACT_SENDMMSG:
	case ACT_WRITE:
	case ACT_WRITEV:
		return call->ret < 0 ? 0 : message__sys_exit(call, action);
	}
	return 0;
}

/* In tcp_set_state and its like. Only connections that were reported are: their entry says
 * whose they are. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(handle__inet_sock_set_state, struct sock *sk, int old_state, int new_state)
{
	struct cpu_state *s;
	struct scratch *record;
	struct ravn_close *out;
	struct ravn_hdr *owner;
	struct tcp_sock *tcp;
	__u64 key = (__u64)sk;

	if (new_state != TCP_CLOSE)
		return 0;
	owner = bpf_map_lookup_elem(&connections, &key);
	s = cpu_state();
	if (!owner || !s || !load__active())
		return 0;
	s->hits[HOOK_SOCKET]++;
	/* Refused later: the connect said that it was under way. */
	if (old_state != TCP_SYN_SENT && cpu__enter(s, STREAM_NETWORK)) {
		record = record__begin(s, bpf_get_current_task_btf(), KIND_CLOSE, STREAM_NETWORK);
		if (record) {
			struct ravn_hdr *hdr = &record->hdr;

			out = (struct ravn_close *)record->body;
			socket__fill(record, sk);
			/* The port was given back just before. */
			out->socket.local_port =
				__builtin_bswap16(bpf_core_cast(sk, struct inet_sock)->inet_sport);
			tcp = bpf_core_cast(sk, struct tcp_sock);
			out->sent = tcp->bytes_sent - tcp->bytes_retrans;
			/* A FIN takes a place in the sequence of bytes. */
			out->received = tcp->bytes_received - (sk->__sk_common.skc_flags >> SOCK_DONE & 1);
			out->duration_ns = hdr->time_ns - owner->time_ns;
			hdr->start_ns = owner->start_ns;
			hdr->parent_start_ns = owner->parent_start_ns;
			hdr->cgroup_id = owner->cgroup_id;
			hdr->tgid = owner->tgid;
			hdr->pid = owner->pid;
			hdr->parent_tgid = owner->parent_tgid;
			hdr->uid = owner->uid;
			hdr->gid = owner->gid;
			__builtin_memcpy(hdr->comm, owner->comm, sizeof(hdr->comm));
			network__submit(s, record, sizeof(*out));
		}
		cpu__leave(s);
	}
	bpf_map_delete_elem(&connections, &key);
	return 0;
}
