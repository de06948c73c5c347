// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The floor that the sensor's cost on the syscall path is compared with: the least that
 * a program there can do and still be of use, counting.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

/* The same hook as the sensor's one program on the syscall path. */
SEC("tp_btf/sys_exit")
int BPF_PROG(count__sys_exit, struct pt_regs *regs, long ret)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&calls, &zero);

	if (count)
		(*count)++;
	return 0;
}
