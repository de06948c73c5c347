//! Numbers that people know by a name.

/// IORING_OP_*, in order, in lower case.
const OPERATIONS: &str = "nop readv writev fsync read_fixed write_fixed poll_add poll_remove sync_file_range \
     sendmsg recvmsg timeout timeout_remove accept async_cancel link_timeout connect \
     fallocate openat close files_update statx read write fadvise madvise send recv openat2 \
     epoll_ctl splice provide_buffers remove_buffers tee shutdown renameat unlinkat mkdirat \
     symlinkat linkat msg_ring fsetxattr setxattr fgetxattr getxattr socket uring_cmd \
     send_zc sendmsg_zc read_multishot waitid futex_wait futex_wake futex_waitv \
     fixed_fd_install ftruncate bind listen recv_zc epoll_wait readv_fixed writev_fixed \
     pipe";

/// Kinds of namespaces by their CLONE_NEW* bit.
const NAMESPACES: [(u64, &str); 8] = [
    (0x80, "time"),
    (0x2_0000, "mnt"),
    (0x200_0000, "cgroup"),
    (0x400_0000, "uts"),
    (0x800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "net"),
];

/// Types of DNS records that are common, or of use to an attacker.
const RECORD_TYPES: [(u16, &str); 15] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (10, "NULL"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (43, "DS"),
    (48, "DNSKEY"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (255, "ANY"),
];

/// The name of an io_uring operation: `openat`; its number if it has none here.
pub fn operation(number: u8) -> String {
    OPERATIONS
        .split_ascii_whitespace()
        .nth(usize::from(number))
        .map_or_else(|| number.to_string(), str::to_owned)
}

/// Names of the kinds of namespaces in a set of CLONE_NEW* bits: `mnt,user`.
pub fn namespaces(bits: u64) -> String {
    let names: Vec<&str> = NAMESPACES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    names.join(",")
}

/// The name of a DNS record's type: `AAAA`; `TYPE99` if it has none here.
pub fn record_type(number: u16) -> String {
    RECORD_TYPES
        .iter()
        .find(|(known, _)| *known == number)
        .map_or_else(|| format!("TYPE{number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::operation;

    #[test]
    fn operations_have_the_kernels_numbers() {
        assert_eq!(operation(18), "openat");
        assert_eq!(operation(36), "unlinkat");
        assert_eq!(operation(57), "listen");
        assert_eq!(operation(200), "200");
    }
}
