// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What is sent: the first datagram of a socket to an address, and questions to name
 * servers. The part of the network monitor that must look into the caller's memory: a
 * datagram's address and text are nowhere else once it is gone. They are read after the call,
 * so a second thread may have changed them by then.
 */
#include "common.bpf.h"
#include "calls.h"
#include "socket.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define DNS_PORT 53
/* Header; the longest name and what follows it. RFC 1035, 4.1. */
#define DNS_HEADER 12
#define NAME_MOST 255
#define LABEL_MOST 63
#define QUESTION_MOST (1 + NAME_MOST + 4)
#define MESSAGES_MOST 4

/* A socket, by the inode that only it has, and where it sent to. */
struct flow {
	__u64 ino;
	__u8 address[16];
	__u16 port;
	__u16 family;
	__u32 pad;
};

/* Flows that were reported; the least used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow);
	__type(value, __u8);
} flows SEC(".maps");

/* struct sockaddr_in and sockaddr_in6, as far as they matter. */
struct given {
	__u16 family;
	__be16 port;
	__u32 v4;
	__u8 v6[16];
};

/* struct msghdr of the 64-bit ABI, up to the parts. */
struct message {
	__u64 name;
	__u64 name_len;
	__u64 parts;
};

/* struct iovec. */
struct part {
	__u64 base;
	__u64 len;
};

/* 0 when the ring took it. */
MONITOR int network__submit(struct cpu_state *s, struct scratch *record, __u32 body_bytes);

/* The open file of a descriptor of the caller, if it is an inet socket. */
static __always_inline struct file *inet__of(struct task_struct *task, __s32 fd, struct sock **sk)
{
	struct file *file = file__of(task, fd);
	struct sock *found = file ? sock__of(file) : NULL;

	if (!found || (found->__sk_common.skc_family != AF_INET && found->__sk_common.skc_family != AF_INET6))
		return NULL;
	*sk = found;
	return file;
}

/* A global function: verified once, not for each way here. `name`: address of the
 * sockaddr, 0 for a connected socket. */
int flow__sent(__u32 fd, __u64 name, __s64 ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct flow flow = {};
	struct given given = {};
	struct sock *sk;
	struct file *file = inet__of(task, fd, &sk);
	__u8 one = 1;

	if (!file || !s || sk->sk_protocol != IPPROTO_UDP)
		return 0;
	/* A sockaddr_in is shorter than what is read; then only that much. */
	if (bpf_probe_read_user(&given, sizeof(given), (void *)name))
		bpf_probe_read_user(&given, 8, (void *)name);
	flow.ino = file->f_inode->i_ino;
	flow.port = given.port;
	flow.family = given.family;
	if (given.family == AF_INET)
		*(__u32 *)flow.address = given.v4;
	else
		__builtin_memcpy(flow.address, given.v6, sizeof(flow.address));
	if (bpf_map_lookup_elem(&flows, &flow))
		return 0;
	record = record__begin(s, task, KIND_SEND, STREAM_NETWORK);
	if (!record)
		return 0;
	socket__fill(record, sk);
	socket__as_given(record, name);
	((struct ravn_socket *)record->body)->ret = ret;
	/* What found no room is tried again with the next datagram. */
	if (!network__submit(s, record, sizeof(struct ravn_socket)))
		bpf_map_update_elem(&flows, &flow, &one, BPF_ANY);
	return 0;
}

/* How far the reading of a question came. */
struct question {
	__u32 at;
	__u32 label_left;
	__u32 bytes;
	bool whole;
};

/* One byte of a question's name: a label's length becomes a dot. 1 ends the reading. */
static long question__step(__u64 step, struct question *question)
{
	struct scratch *record = scratch__current();
	__u32 at = question->at;
	__u8 *byte;

	if (!record || at > NAME_MOST || at >= question->bytes)
		return 1;
	barrier_var(at);
	byte = record->body + sizeof(struct ravn_dns) - 1 + (at & 0x1ff);
	question->at++;
	if (question->label_left) {
		question->label_left--;
		return 0;
	}
	if (!*byte || *byte > LABEL_MOST) {
		question->whole = !*byte;
		question->at--;
		return 1;
	}
	question->label_left = *byte;
	/* The first length lies inside the payload: no dot begins a name. */
	if (at)
		*byte = '.';
	return 0;
}

/* `text`: the message itself, `bytes` of it. */
int question__asked(__u32 fd, __u64 name, __u64 text, __u64 bytes, __s64 ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_dns *out;
	struct sock *sk;
	struct file *file = inet__of(task, fd, &sk);
	__u16 head[DNS_HEADER / 2];
	struct question question = {};

	if (!file || !s || bytes < DNS_HEADER + 5)
		return 0;
	/* Over TCP its length stands before it. */
	if (sk->sk_type == SOCK_STREAM)
		text += 2;
	if (bpf_probe_read_user(head, sizeof(head), (void *)text))
		return 0;
	/* An answer, or nothing asked: no question. */
	if (head[1] & 0x80 || !head[2])
		return 0;
	record = record__begin(s, task, KIND_DNS, STREAM_NETWORK);
	if (!record)
		return 0;
	out = (struct ravn_dns *)record->body;
	socket__fill(record, sk);
	if (name)
		socket__as_given(record, name);
	out->socket.ret = ret;
	out->name_len = LEN_CUT;
	out->type = 0;
	out->pad = 0;
	out->first_label = 0;
	bytes -= DNS_HEADER;
	if (bytes > QUESTION_MOST)
		bytes = QUESTION_MOST;
	barrier_var(bytes);
	if (bpf_probe_read_user(&out->first_label, bytes & 0x1ff, (void *)(text + DNS_HEADER)))
		return network__submit(s, record, sizeof(*out));
	question.bytes = bytes;
	bpf_loop(NAME_MOST + 1, question__step, &question, 0);
	if (question.whole) {
		__u32 end = question.at & 0xff;
		__u8 *behind = &out->first_label + end + 1;

		/* What the caller did not send is not looked at. */
		if (end + 2 < bytes)
			out->type = behind[0] << 8 | behind[1];
		out->name_len = end ? end - 1 : 0;
	}
	return network__submit(s, record, sizeof(*out) + (out->name_len & LEN_MASK));
}

/* One message: where to, and its text. */
static __always_inline int message__sent(struct call *call, __u64 name, __u64 text, __u64 bytes)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 fd = call->args[0];
	struct sock *sk;
	__u16 port;

	if (!inet__of(task, fd, &sk))
		return 0;
	port = sk->__sk_common.skc_dport;
	if (name) {
		bpf_probe_read_user(&port, sizeof(port), (void *)(name + SOCKADDR_PORT));
		flow__sent(fd, name, call->ret);
	}
	if (port == __builtin_bswap16(DNS_PORT))
		question__asked(fd, name, text, bytes, call->ret);
	return 0;
}

/* The text of a message in parts is looked for in the first; where that holds but the length
 * that TCP puts before a question, in the second, as if the length stood before it. */
static __noinline int parts__sent(struct call *call, __u64 name, __u64 parts)
{
	struct part first = {};

	bpf_probe_read_user(&first, sizeof(first), (void *)parts);
	if (first.len == 2) {
		bpf_probe_read_user(&first, sizeof(first), (void *)(parts + sizeof(first)));
		first.base -= 2;
	}
	return message__sent(call, name, first.base, first.len);
}

int message__sys_exit(struct call *call, __u32 action)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct message message = {};
	struct sock *sk;
	bool named;

	/* Most have nothing to do with the network, or are of a connection to elsewhere. A
	 * connected UDP socket may be given another address all the same. */
	if (!call || !inet__of(task, call->args[0], &sk))
		return 0;
	named = action == ACT_SENDTO ? call->args[4] != 0 : action == ACT_SENDMSG || action == ACT_SENDMMSG;
	if (sk->__sk_common.skc_dport && sk->__sk_common.skc_dport != __builtin_bswap16(DNS_PORT) &&
	    !(named && sk->sk_protocol == IPPROTO_UDP))
		return 0;
	switch (action) {
	case ACT_SENDTO:
		return message__sent(call, call->args[4], call->args[1], call->args[2]);
	case ACT_WRITE:
		return message__sent(call, 0, call->args[1], call->args[2]);
	case ACT_WRITEV:
		return parts__sent(call, 0, call->args[1]);
	case ACT_SENDMSG:
		bpf_probe_read_user(&message, sizeof(message), (void *)call->args[1]);
		return parts__sent(call, message.name, message.parts);
	case ACT_SENDMMSG:
		/* A struct mmsghdr is 64 bytes. */
		for (__u32 at = 0; at < MESSAGES_MOST; at++) {
			if (at >= call->ret)
				break;
			bpf_probe_read_user(&message, sizeof(message), (void *)(call->args[1] + 64 * at));
			parts__sent(call, message.name, message.parts);
		}
		return 0;
	}
	return 0;
}
