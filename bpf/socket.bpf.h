/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Both ends of a socket, from the kernel's own object, or the remote one as a caller gave it. */
#ifndef RAVN_SOCKET_BPF_H
#define RAVN_SOCKET_BPF_H

#include "common.bpf.h"

/* Fills the payload from the socket, and appends the names of a Unix socket's ends. */
static __noinline int socket__fill(struct scratch *record, struct sock *sk)
{
	struct ravn_socket *out = (struct ravn_socket *)record->body;
	__u16 family = sk->__sk_common.skc_family;

	__builtin_memset(out, 0, sizeof(*out));
	out->family = family;
	out->type = sk->sk_type;
	out->protocol = sk->sk_protocol;
	if (family == AF_INET || family == AF_INET6) {
		out->local_port = sk->__sk_common.skc_num;
		out->remote_port = __builtin_bswap16(sk->__sk_common.skc_dport);
	}
	if (family == AF_INET) {
		*(__u32 *)out->local = sk->__sk_common.skc_rcv_saddr;
		*(__u32 *)out->remote = sk->__sk_common.skc_daddr;
		out->local_len = 4;
		out->remote_len = 4;
	} else if (family == AF_INET6) {
		bpf_probe_read_kernel(out->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(out->remote, 16, &sk->__sk_common.skc_v6_daddr);
		out->local_len = 16;
		out->remote_len = 16;
	} else if (family == AF_UNIX) {
		struct unix_sock *unix_sk = bpf_core_cast(sk, struct unix_sock);
		struct sock *peer = unix_sk->peer;

		out->local_len = append__unix_name(sizeof(*out), unix_sk->addr);
		if (peer)
			out->remote_len = append__unix_name(sizeof(*out) + (out->local_len & LEN_MASK),
							    bpf_core_cast(peer, struct unix_sock)->addr);
	}
	return 0;
}

/* Offsets of <netinet/in.h> and <sys/un.h>, the same in all three. */
#define SOCKADDR_PORT 2
#define SOCKADDR_IN_ADDR 4
#define SOCKADDR_IN6_ADDR 8
#define SOCKADDR_UN_PATH 2

/* The remote end as the caller gave it; stays empty where it cannot be read. */
static __noinline __attribute__((unused)) int socket__as_given(struct scratch *record, __u64 address)
{
	struct ravn_socket *out = (struct ravn_socket *)record->body;
	__u16 family = 0, port = 0;

	bpf_probe_read_user(&family, sizeof(family), (void *)address);
	out->as_given = 1;
	out->remote_len = 0;
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

/* Bytes of the payload with the strings behind it: inet addresses are inside. */
static __always_inline __u32 socket__bytes(struct ravn_socket *out)
{
	__u32 bytes = sizeof(*out);

	if (out->family != AF_INET && out->family != AF_INET6)
		bytes += (out->local_len & LEN_MASK) + (out->remote_len & LEN_MASK);
	return bytes;
}

#endif
