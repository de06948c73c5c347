/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every thread's whole syscall sequence, at about the cost of counting.
 *
 * A CPU writes one stream of 16-bit words into its open chunk: a syscall is a word;
 * when another thread comes, one word switches to its slot, and only a thread that
 * the chunk does not know yet is defined (32 bytes). While a thread's run continues no
 * helper is called; the clock is read once a chunk.
 *
 * A thread is known by the address of its pt_regs, the top of its kernel stack: the
 * tracepoint hands it over. Three guards keep that true: sched_migrate_task clears the
 * key on the CPU that a thread leaves (it would continue an old run when it returns),
 * sched_process_exit and the forced definition after clone and exec clear it when a stack
 * changes hands.
 *
 * Included by syscall_monitor.bpf.c alone, which owns the ring, `excluded` and `hz`.
 */
#ifndef RAVN_SEQUENCE_BPF_H
#define RAVN_SEQUENCE_BPF_H

#include "common.bpf.h"

#define WORD_SWITCH 0x8000
#define WORD_DEFINE 0x8040
#define WORD_TIME 0x8080
#define NR_OTHER 2047
#if defined(__TARGET_ARCH_arm64)
#define NR_RT_SIGRETURN 139
#else
#define NR_RT_SIGRETURN 15
#endif
#define X32_BIT 0x40000000u
#define WORD_X32 (1 << 13)
#define WORD_COMPAT (1 << 14)
#define OUTCOME_DENIED (1 << 11)
#define OUTCOME_NOT_FOUND (2 << 11)
#define OUTCOME_ERROR (3 << 11)

/* A chunk with less room than the largest step (definition, time mark, word) is flushed. */
#define CHUNK_FULL (CHUNK_BYTES - 40)
#define CHUNK_MASK (CHUNK_BYTES - 1)

struct thread_definition {
	__u64 start_ns;
	__u64 leader_start_ns;
	__u32 pid;
	__u32 tgid;
	__u32 migrations;
	__u32 exec_id;
};

/* Shift 12: kernel stacks are 16 KiB apart on x86-64 and arm64, 8 KiB elsewhere. */
static __always_inline __u32 slot__index(__u64 key)
{
	return ((__u32)(key >> 12) * 0x9e3779b1u) >> 26;
}

/* Position in `words`, masked so that the verifier sees it inside the array; the
 * slack takes the largest step behind it. */
#define WORD_AT(s, p) ((__u16 *)((s)->words + ((p)&CHUNK_MASK)))

/* Whether this very process is left out of sequences: our own daemons. */
static __always_inline bool sequence__excluded(struct task_struct *task)
{
	__u32 tgid = task->tgid;
	__u64 *start = bpf_map_lookup_elem(&excluded, &tgid);

	return start && *start == task->group_leader->start_boottime;
}

/* Hands the open chunk over and begins the next generation. A refused chunk is a gap
 * of `count` numbers. Process life shares the ring: chunks leave a quarter to it. */
static __noinline int sequence__flush(struct cpu_state *s)
{
	__u32 bytes;

	if (!s)
		return 0;
	bytes = s->pos;
	if (bytes > CHUNK_BYTES)
		bytes = CHUNK_BYTES;
	if (bytes) {
		s->chunk_hdr.n = s->first_n;
		s->chunk_hdr.kind = KIND_CHUNK;
		s->chunk_hdr.cpu = bpf_get_smp_processor_id();
		s->chunk_hdr.len = sizeof(s->chunk_hdr) + sizeof(s->chunk) + bytes;
		s->chunk.count = s->taken[STREAM_SEQUENCE] - s->first_n;
		s->chunk.ticks = bpf_jiffies64() - s->opened_jiffies;
		if (bpf_ringbuf_query(&syscall_events, BPF_RB_AVAIL_DATA) > chunk_ring_limit() ||
		    bpf_ringbuf_output(&syscall_events, &s->chunk_hdr,
				       sizeof(s->chunk_hdr) + sizeof(s->chunk) + bytes, BPF_RB_NO_WAKEUP))
			s->lost[STREAM_SEQUENCE][LOST_RING_FULL] += s->chunk.count;
	}
	s->pos = 0;
	s->key = 0;
	s->skip = 0;
	s->generation++;
	return 0;
}

/* A thread that this chunk does not know: the only step that calls helpers. Returns
 * the task, NULL if its sequence is not wanted. */
static __noinline int sequence__define(struct cpu_state *s, __u64 key, __u32 index)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread_definition *definition;
	struct slot *slot;

	if (!s)
		return 0;
	slot = &s->slots[index & (SLOTS - 1)];
	slot->regs = key;
	slot->task = (__u64)task;
	slot->generation = s->generation;
	slot->skip = !task__wanted(task) || sequence__excluded(task) || kind__left_out(task, KIND_CHUNK);
	if (slot->skip) {
		s->skip = key;
		s->skip_task = (__u64)task;
		/* One that is left out since its exec does not come back into its old run. */
		if (s->key == key)
			s->key = 0;
		return 0;
	}
	if (s->skip == key)
		s->skip = 0;
	if (!s->pos) {
		s->first_n = s->taken[STREAM_SEQUENCE];
		s->opened_jiffies = s->marked_jiffies = bpf_jiffies64();
		s->chunk_hdr.time_ns = bpf_ktime_get_boot_ns();
	}
	*WORD_AT(s, s->pos) = WORD_DEFINE | (index & (SLOTS - 1));
	definition = (struct thread_definition *)WORD_AT(s, s->pos + 2);
	definition->start_ns = task->start_boottime;
	definition->leader_start_ns = task->group_leader->start_boottime;
	definition->pid = task->pid;
	definition->tgid = task->tgid;
	definition->migrations = task->se.nr_migrations;
	definition->exec_id = task->self_exec_id;
	s->pos += 2 + sizeof(*definition);
	s->key = key;
	s->task = (__u64)task;
	return 1;
}

/* Number and outcome of a syscall as the low 14 bits of its word. */
static __always_inline __u32 sequence__word(__u32 nr, __s64 ret)
{
	__u32 outcome = 0;

	if (nr == (__u32)-1) {
		/* rt_sigreturn leaves -1 behind; so does a number that no table has, with
		 * -ENOSYS. */
		if (ret != -ENOSYS)
			return NR_RT_SIGRETURN;
		return NR_OTHER | OUTCOME_ERROR;
	}
	if (nr & X32_BIT) {
		nr &= ~X32_BIT;
		outcome = WORD_X32;
	}
	if (nr > NR_OTHER)
		nr = NR_OTHER;
	if (ret < 0 && ret >= -MAX_ERRNO) {
		if (ret == -EPERM || ret == -EACCES)
			outcome |= OUTCOME_DENIED;
		else if (ret == -ENOENT || ret == -ESRCH || ret == -ENODEV)
			outcome |= OUTCOME_NOT_FOUND;
		else
			outcome |= OUTCOME_ERROR;
	}
	return nr | outcome;
}

/* Appends one syscall of the thread that holds the run: number taken, word written,
 * a time mark before it when the clock ticked. */
static __always_inline void sequence__append(struct cpu_state *s, __u32 word)
{
	__u64 jiffies = bpf_jiffies64();
	__u32 pos = s->pos;

	if (jiffies != s->marked_jiffies) {
		__u64 ticks = jiffies - s->opened_jiffies;

		*WORD_AT(s, pos) = WORD_TIME;
		*WORD_AT(s, pos + 2) = ticks > 0xffff ? 0xffff : ticks;
		pos += 4;
		s->marked_jiffies = jiffies;
	}
	*WORD_AT(s, pos) = word;
	s->pos = pos + 2;
	s->taken[STREAM_SEQUENCE]++;
}

/* After the records of this syscall, which stand in the open chunk: is it full, or a
 * second old? */
static __always_inline void sequence__close(struct cpu_state *s)
{
	if (s->pos > CHUNK_FULL || s->marked_jiffies - s->opened_jiffies >= hz)
		sequence__flush(s);
}

#endif
