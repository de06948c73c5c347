// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A record: numbered, headed, filled, handed over. Everything that all monitors
 * do alike.
 */
#include "filter.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* What an iterator builds its records in: it may be preempted, and a CPU's own scratch would
 * be written by whatever runs there meanwhile. One reader at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} iterator_scratch SEC(".maps");

/* Cgroups that the sensor is narrowed to, by id. Empty and unused unless `narrowed`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u8);
} only_cgroups SEC(".maps");

/* This load's own id. */
const volatile __u64 load_id = 0;

/* Another CPU's; 5.19. */
MONITOR struct cpu_state *cpu_state_of(__u32 cpu)
{
	__u32 zero = 0;

	return bpf_map_lookup_percpu_elem(&cpu_states, &zero, cpu);
}

/* Bytes in the ring of process life above which chunks are refused. */
MONITOR __u64 chunk_ring_limit(void)
{
	struct ravn_settings *set = THE(settings);

	return set ? set->chunk_ring_limit : 0;
}

MONITOR struct scratch *scratch__of(__u32 place)
{
	return place == PLACE_ITERATOR ? THE(iterator_scratch) : scratch__current();
}

MONITOR bool cgroup__among_only(struct cgroup *cgroup)
{
	return cgroup__within(cgroup, &only_cgroups);
}

/* Takes a number of the stream, before any room is asked for, and fills the
 * header. The CPU is held by the caller. NULL: nobody wants the record (it takes no
 * number then), or its process said too much. */
MONITOR struct scratch *record__begin(struct cpu_state *s, struct task_struct *task, __u32 kind, __u32 stream)
{
	struct scratch *record = scratch__current();
	struct ravn_hdr *hdr;
	__u64 n;

	bool cheap = stream == STREAM_FILE || stream == STREAM_NETWORK;

	if (!record || stream >= STREAMS)
		return NULL;
	if (cheap && kind__left_out(task, kind))
		return NULL;
	n = s->taken[stream]++;
	hdr = &record->hdr;
	hdr->n = n;
	header__of(hdr, task, kind);
	if (cheap && budget__spent(s, task, kind, hdr->time_ns)) {
		s->lost[stream][LOST_BUDGET]++;
		return NULL;
	}
	hdr->first_n = s->pos ? s->first_n : s->taken[STREAM_SEQUENCE];
	hdr->word = s->pos / 2;
	hdr->cpu = bpf_get_smp_processor_id();
	return record;
}

/* Names longer than this are read by a helper; NAME_MAX is 255. */
#define SHORT_NAME 32

/* Most names are short, and plain loads beat a helper call; what they copy past the name is
 * overwritten by the next one or lies past the length. */
static __always_inline __u32 name__copy(__u8 *out, const unsigned char *name, __u32 len)
{
	__u64 *to = (__u64 *)out;
	struct list_head *from;

	if (len > SHORT_NAME) {
		/* As a string: a rename between the two loads may pair the old length with a
		 * short name inside the dentry, and what lies behind that is no business of
		 * whoever reads the record. d_iname has 32 bytes or more. */
		long read = bpf_probe_read_kernel_str(out, len + 1, name);

		return read > 0 ? (read - 1) & 0xff : 0;
	}
	from = bpf_core_cast(name, struct list_head);
	to[0] = (__u64)from->next;
	if (len <= 8)
		return len;
	to[1] = (__u64)from->prev;
	if (len <= 16)
		return len;
	from = bpf_core_cast(name + 16, struct list_head);
	to[2] = (__u64)from->next;
	to[3] = (__u64)from->prev;
	return len;
}

/*
 * Appends the path of a dentry, leaf first, a slash after each name, across mounts.
 * 128 steps: components and mount crossings together; PATH_BYTES bounds it too.
 */
__u32 append__path_pointed(__u32 at, __u32 place)
{
	struct scratch *record = scratch__current();
	struct dentry *dentry;
	struct mount *mount;

	/* Kept apart: one look-up of either map would be a call. */
	barrier_var(record);
	if (place != PLACE_CPU)
		record = scratch__of(place);
	if (!record || !record->pointers[0] || !record->pointers[1])
		return 0;
	dentry = bpf_core_cast((void *)record->pointers[0], struct dentry);
	mount = bpf_core_cast((void *)(record->pointers[1] - bpf_core_field_offset(struct mount, mnt)),
			      struct mount);
	record->path_len = 0;
	for (int step = 0; step < 128; step++) {
		struct dentry *parent = dentry->d_parent;
		__u32 len = record->path_len, off = at + len, name_len;

		if (dentry == mount->mnt.mnt_root) {
			struct mount *up = mount->mnt_parent;

			if (up == mount)
				return len;
			dentry = mount->mnt_mountpoint;
			mount = up;
			continue;
		}
		name_len = dentry->d_name.len & 0xff;
		if (len + name_len + 1 > PATH_BYTES || off >= SCRATCH_BYTES)
			return len | LEN_CUT;
		name_len = name__copy(record->body + INSIDE(off), dentry->d_name.name, name_len);
		/* Neither a mount's root nor below anything: a memfd, a pipe. */
		if (dentry == parent)
			return (len + name_len) | LEN_ROOTLESS;
		record->body[INSIDE(off) + name_len] = '/';
		record->path_len = len + name_len + 1;
		dentry = parent;
	}
	return record->path_len | LEN_CUT;
}

__u32 append__user_string(__u32 at, __u64 address)
{
	struct scratch *record = scratch__current();
	long read;

	if (!record || !address || at >= SCRATCH_BYTES)
		return 0;
	/* The kernel itself read it during the call, so its pages are present; what fails
	 * all the same is an empty string to whoever reads the record. */
	read = bpf_probe_read_user_str(record->body + INSIDE(at), USER_STRING_MAX, (void *)address);
	if (read <= 0)
		return 0;
	return read == USER_STRING_MAX ? (__u32)(read - 1) | LEN_CUT : (__u32)(read - 1);
}

/* The name of a Unix socket as it was bound: a path, or one that begins with NUL.
 * `unix_address.len` counts the family too and never passes sizeof(sockaddr_un). */
__u32 append__unix_name_pointed(__u32 at)
{
	struct scratch *record = scratch__current();
	struct unix_address *name;
	__u64 address;
	__u32 len;

	if (!record || at >= SCRATCH_BYTES)
		return 0;
	address = record->pointers[0];
	if (!address)
		return 0;
	name = bpf_core_cast((void *)address, struct unix_address);
	len = name->len;
	if (len <= 2 || len > sizeof(struct sockaddr_un))
		return 0;
	len = (len - 2) & 0x7f;
	if (bpf_probe_read_kernel(record->body + INSIDE(at), len,
				  (void *)(address + bpf_core_field_offset(struct unix_address, name) + 2)))
		return 0;
	return len;
}
