//! The standard `process_*` family, read from `/proc/self` at each collection.
//! Where a file isn't there or reads differently, the value keeps its last state.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::cell::{FloatCounter, FloatGauge, Gauge};
use super::decl::FamilyDecl;
use super::family::Single;
use super::registry::Registry;

/// The declarations. OpenTelemetry names as its semantic conventions have them where
/// they have any; Prometheus names as every client library writes them.
pub static FAMILIES: [FamilyDecl; 6] = [
    FamilyDecl::counter(
        "process.cpu.time",
        "User and system CPU time of the process.",
    )
    .unit("s")
    .named("process_cpu_seconds_total"),
    FamilyDecl::gauge("process.memory.usage", "Resident memory of the process.")
        .unit("By")
        .named("process_resident_memory_bytes"),
    FamilyDecl::gauge("process.memory.virtual", "Virtual memory of the process.")
        .unit("By")
        .named("process_virtual_memory_bytes"),
    FamilyDecl::gauge(
        "process.unix.file_descriptor.count",
        "Open file descriptors.",
    )
    .unit("{file_descriptor}")
    .named("process_open_fds"),
    FamilyDecl::gauge(
        "process.unix.file_descriptor.limit",
        "Most file descriptors the process may open.",
    )
    .unit("{file_descriptor}")
    .named("process_max_fds")
    .when_set(),
    FamilyDecl::gauge("process.start_time", "Start of the process, Unix time.")
        .unit("s")
        .when_set(),
];

struct Process {
    cpu: Single<FloatCounter>,
    resident: Single<Gauge>,
    virtual_: Single<Gauge>,
    open_fds: Single<Gauge>,
    max_fds: Single<Gauge>,
    start: Single<FloatGauge>,
}

/// Adds the family to `registry`.
pub fn register(registry: &Registry) {
    let [cpu, resident, virtual_, open_fds, max_fds, start] = &FAMILIES;
    let process = Process {
        cpu: registry.add(cpu),
        resident: registry.add(resident),
        virtual_: registry.add(virtual_),
        open_fds: registry.add(open_fds),
        max_fds: registry.add(max_fds),
        start: registry.add(start),
    };
    let _ = process.read_start();
    registry.on_collect(move || {
        // Each part on its own: a missing file leaves the others alone.
        let _ = process.read_stat();
        let _ = process.read_fds();
    });
}

impl Process {
    /// It doesn't change. When the machine was started is read from two clocks: `/proc/stat`
    /// is dear on a machine with many interrupts, and hidden from a service that sees
    /// nothing but processes.
    fn read_start(&self) -> Option<()> {
        let since_boot = clock_gettime(ClockId::Boottime);
        let since_boot = Duration::try_from(since_boot).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let boot = now.checked_sub(since_boot)?.as_secs_f64();
        let start = boot + Stat::read()?.seconds(22)?;
        // The clock ticks a hundred times a second: more digits would say nothing, and are
        // read back a little differently by some.
        self.start.set((start * 100.0).round() / 100.0);
        Some(())
    }

    fn read_stat(&self) -> Option<()> {
        let stat = Stat::read()?;
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        self.cpu.mirror(stat.seconds(14)? + stat.seconds(15)?);
        self.virtual_.set_u64(stat.field(23)?);
        self.resident.set_u64(stat.field(24)?.saturating_mul(page));
        Some(())
    }

    fn read_fds(&self) -> Option<()> {
        // The listing itself holds one descriptor open.
        let open = fs::read_dir("/proc/self/fd")
            .ok()?
            .count()
            .saturating_sub(1);
        self.open_fds.set_u64(u64::try_from(open).ok()?);
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let limit = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?;
        self.max_fds
            .set_u64(limit.split_whitespace().next()?.parse().ok()?);
        Some(())
    }
}

/// The fields of `/proc/self/stat` from the third on.
struct Stat(Vec<u64>);

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name may hold spaces and parentheses: fields start after the last one.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields = fields.split_whitespace();
        Some(Self(
            fields.map(|field| field.parse().unwrap_or(0)).collect(),
        ))
    }

    /// By its number in proc(5).
    fn field(&self, number: usize) -> Option<u64> {
        self.0.get(number - 3).copied()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "ticks of a process stay far below 2^53"
    )]
    fn seconds(&self, number: usize) -> Option<f64> {
        Some(self.field(number)? as f64 / rustix::param::clock_ticks_per_second() as f64)
    }
}
