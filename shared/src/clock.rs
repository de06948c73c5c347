//! The two clocks: CLOCK_BOOTTIME for what happened, CLOCK_REALTIME for people.

use std::fs;

/// CLOCK_BOOTTIME now, nanoseconds.
pub fn boottime_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// CLOCK_REALTIME − CLOCK_BOOTTIME now, nanoseconds: added to a record's time it is the
/// time of day.
pub fn offset_ns() -> i64 {
    let boot = boottime_ns();
    let real = read(libc::CLOCK_REALTIME);
    real.cast_signed().wrapping_sub(boot.cast_signed())
}

/// CLOCK_REALTIME now, milliseconds since 1970.
pub fn realtime_ms() -> u64 {
    read(libc::CLOCK_REALTIME) / 1_000_000
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill. Both clocks exist on every
    // Linux that RAVN supports, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec
        .cast_unsigned()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec.cast_unsigned())
}

/// The kernel's boot id: 16 bytes, new at each boot.
///
/// # Errors
/// When `/proc` is not there, or holds no UUID.
pub fn boot_id() -> std::io::Result<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: Vec<u8> = text
        .bytes()
        .filter_map(|byte| char::from(byte).to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    let mut id = [0; 16];
    if digits.len() != 32 {
        return Err(std::io::Error::other(
            "/proc/sys/kernel/random/boot_id holds no UUID",
        ));
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_offset_leads_from_boottime_to_the_time_of_day() {
        let real = super::boottime_ns().cast_signed() + super::offset_ns();
        let known = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |age| age.as_millis());
        let off = (real / 1_000_000) as i128 - known as i128;
        assert!(off.abs() < 1000, "{off} ms apart");
    }
}
