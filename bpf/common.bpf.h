/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the four monitors share: the state of a CPU, the scratch that a record is
 * built in, and the way from one to the other. The bodies are in record.bpf.c.
 */
#ifndef RAVN_COMMON_BPF_H
#define RAVN_COMMON_BPF_H

/* clang-format off: the libbpf headers need the types. */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "abi.h"
#include "state.bpf.h"
/* clang-format on */

/* A call of a monitor in another file. Hidden functions are verified inside their
 * caller, so that the kernel's pointers keep their types. */
#define MONITOR __hidden

/* Where a record is built: the CPU's own scratch, or that of the iterators. */
enum place {
	PLACE_CPU = 0,
	PLACE_ITERATOR = 1,
};

/* One syscall on its way out. Behind its six arguments stand two constants, so that a
 * table can say "no argument" or "the working directory" by an index too. */
#define ARG_CWD 6
#define ARG_NONE 7
#define ARG_MASK 7

struct call {
	__u64 args[8];
	__s64 ret;
	__u32 nr;
	__u32 compat;
};

MONITOR struct cpu_state *cpu_state_of(__u32 cpu);
MONITOR struct scratch *record__begin(struct cpu_state *s, struct task_struct *task, __u32 kind,
				      __u32 stream);
MONITOR struct scratch *scratch__of(__u32 place);
MONITOR __u64 chunk_ring_limit(void);
/* Whether a task is of the sensor's own daemons. */
MONITOR bool task__sensor(struct task_struct *task);
/* Hands a record of the security ring over; 0 when the ring took it. */
MONITOR int security__submit(struct cpu_state *s, struct scratch *record, __u32 body_bytes);
/* Writes the credentials of a task down and gives those that were written down before; false
 * when there were none. */
MONITOR bool creds__exchange(struct task_struct *task, struct ravn_ids *before);
/* Writes them down where nobody did yet. */
MONITOR void creds__note(struct task_struct *task);
/* Fills in another process; zeros when it is NULL. */
MONITOR int target__fill(struct ravn_target *out, struct task_struct *target);

/* Each appends at byte `at` of the scratch's body and returns the length with the
 * LEN_* bits, 0 when there is nothing. Global functions: they are verified once,
 * on their own, which is why they take plain numbers. */
__u32 append__path_pointed(__u32 at, __u32 place);
__u32 append__user_string(__u32 at, __u64 address);
__u32 append__unix_name_pointed(__u32 at);

/* An offset that was checked against SCRATCH_BYTES, so that the verifier sees the check
 * too: clang compares one register and adds another. */
#define INSIDE(at)                            \
	({                                    \
		__u32 inside_ = (at);         \
		barrier_var(inside_);         \
		inside_ &(SCRATCH_BYTES - 1); \
	})

/* Takes the CPU. False when another program has it: the caller counts that. */
static __always_inline bool cpu__enter(struct cpu_state *s, __u32 stream)
{
	if (s->busy) {
		s->lost[stream][LOST_RECURSION]++;
		return false;
	}
	s->busy = 1;
	return true;
}

static __always_inline void cpu__leave(struct cpu_state *s)
{
	s->busy = 0;
}

/* Hands the first `body` bytes behind the header to `ring`; 0 when it took them. No wake-up:
 * the collector drains on a timer, and a wake-up costs more than the record. */
#define RECORD_SUBMIT(s, ring, record, body_bytes, stream)                                          \
	({                                                                                          \
		__u32 bytes_ = sizeof(struct ravn_hdr) + (body_bytes);                              \
		long refused_ = -1;                                                                 \
		if (bytes_ > sizeof((record)->hdr) + sizeof((record)->body)) {                      \
			(s)->lost[stream][LOST_SCRATCH_FULL]++;                                     \
		} else {                                                                            \
			(record)->hdr.len = bytes_;                                                 \
			refused_ = bpf_ringbuf_output(&(ring), (record), bytes_, BPF_RB_NO_WAKEUP); \
			if (refused_)                                                               \
				(s)->lost[stream][LOST_RING_FULL]++;                                \
		}                                                                                   \
		refused_;                                                                           \
	})

/* The first word at a kernel address, without a helper call: bpf_core_cast makes the
 * load one that faults safely (6.2). */
static __always_inline void *load_pointer(const void *address)
{
	return bpf_core_cast(address, struct list_head)->next;
}

/* The same as a number, with which the verifier lets a program calculate. */
static __always_inline __u64 load_word(const void *address)
{
	return bpf_core_cast(address, struct timespec64)->tv_sec;
}

/* A kernel pointer as a number. By the stack: what goes through a map's field may be another's
 * before it is read again, for an interrupt's program may pass there too. */
static __always_inline __u64 pointer__number(const void *pointer)
{
	const void *spilled = pointer;
	__u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), &spilled);
	return number;
}

/* The open file of a descriptor of the current task. */
static __always_inline struct file *file__of(struct task_struct *task, __s32 fd)
{
	struct files_struct *files = task->files;
	struct fdtable *table;
	void *file;

	if (!files || fd < 0)
		return NULL;
	table = files->fdt;
	if ((__u32)fd >= table->max_fds)
		return NULL;
	file = load_pointer(table->fd + fd);
	return file ? bpf_core_cast(file, struct file) : NULL;
}

/* Whether a cgroup or one above it, up to 8 deep, is in a map of ids. */
static __always_inline bool cgroup__within(struct cgroup *cgroup, void *ids)
{
	for (int depth = 0; depth < 8; depth++) {
		__u64 id = cgroup->kn->id;
		struct cgroup_subsys_state *parent;

		if (bpf_map_lookup_elem(ids, &id))
			return true;
		/* `self` is the first member: a css of the unified hierarchy is its cgroup. */
		parent = cgroup->self.parent;
		if (!parent)
			return false;
		cgroup = bpf_core_cast(parent, struct cgroup);
	}
	return false;
}

/* An inode's change time, which no utimes() sets back. */
static __always_inline void inode__ctime(struct inode *inode, __s64 *sec, __u32 *nsec)
{
	struct inode___seconds *seconds = bpf_core_cast(inode, struct inode___seconds);
	struct inode___private_ctime *private = bpf_core_cast(inode, struct inode___private_ctime);
	struct inode___ctime *plain = bpf_core_cast(inode, struct inode___ctime);

	if (bpf_core_field_exists(seconds->i_ctime_sec)) {
		*sec = seconds->i_ctime_sec;
		/* Since 6.13 the top bit says that somebody asked for it. */
		*nsec = seconds->i_ctime_nsec & 0x7fffffff;
	} else if (bpf_core_field_exists(private->__i_ctime)) {
		*sec = private->__i_ctime.tv_sec;
		*nsec = private->__i_ctime.tv_nsec;
	} else if (bpf_core_field_exists(plain->i_ctime)) {
		*sec = plain->i_ctime.tv_sec;
		*nsec = plain->i_ctime.tv_nsec;
	}
}

static __always_inline struct sock *sock__of(struct file *file)
{
	struct socket *socket;

	if (!file || (file->f_inode->i_mode & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = bpf_core_cast(file->private_data, struct socket);
	return socket->sk ? bpf_core_cast(socket->sk, struct sock) : NULL;
}

/* Who the record speaks of, and when it is made. */
static __always_inline void header__of(struct ravn_hdr *hdr, struct task_struct *task, __u32 kind)
{
	struct task_struct *parent = task->real_parent;

	hdr->time_ns = bpf_ktime_get_boot_ns();
	hdr->start_ns = task->group_leader->start_boottime;
	hdr->parent_start_ns = parent->group_leader->start_boottime;
	hdr->cgroup_id = task->cgroups->dfl_cgrp->kn->id;
	hdr->tgid = task->tgid;
	hdr->pid = task->pid;
	hdr->parent_tgid = parent->tgid;
	hdr->uid = task->cred->uid.val;
	hdr->gid = task->cred->gid.val;
	hdr->kind = kind;
	__builtin_memcpy(hdr->comm, task->comm, sizeof(hdr->comm));
}

static __always_inline __u32 append__path_in(__u32 place, __u32 at, struct dentry *dentry,
					     struct vfsmount *mount)
{
	struct scratch *record = place == PLACE_CPU ? scratch__current() : scratch__of(place);

	if (!record)
		return 0;
	record->pointers[0] = (__u64)dentry;
	record->pointers[1] = (__u64)mount;
	return append__path_pointed(at, place);
}

static __always_inline __u32 append__path(__u32 at, struct dentry *dentry, struct vfsmount *mount)
{
	return append__path_in(PLACE_CPU, at, dentry, mount);
}

static __always_inline __u32 append__unix_name(__u32 at, struct unix_address *name)
{
	struct scratch *record = scratch__current();

	if (!record)
		return 0;
	record->pointers[0] = (__u64)name;
	return append__unix_name_pointed(at);
}

static __always_inline __u32 append__file_path(__u32 at, struct file *file)
{
	return append__path(at, file->f_path.dentry, file->f_path.mnt);
}

#endif
