//! Families about the process itself, the metrics included.

families! {
    "The process"

    BUILD_INFO = Gauge "tidegate_build_info" ["version", "revision", "rustc"]
        "What runs: its version, the revision of its source as far as the build was told, and \
         the compiler; always 1.";
    READY = Gauge "tidegate_ready" []
        "Whether probes are told to send traffic: 1 or 0.";
    METRIC_PATHS = Gauge "tidegate_metric_paths" []
        "Metric paths held.";
    METRIC_PATHS_OVERFLOW = Counter "tidegate_metric_paths_overflow_total" []
        "Times something was counted under tidegate_overflow, as there were too many metric paths.";
    STATSD_DROPPED = Counter "tidegate_statsd_dropped_timers_total" []
        "Timer samples that did not reach statsd.";
    STATSD_FAILED = Counter "tidegate_statsd_failed_flushes_total" []
        "Flushes to statsd that could not be sent as a whole.";
    LOG_DROPPED = Counter "tidegate_log_lines_dropped_total" []
        "Lines of the log that were lost, as nobody read them in time.";
    LOG_HELD_BACK = Counter "tidegate_decision_log_held_back_total" []
        "Decisions that were to be logged and were not, as there were too many in a second.";
    TELEMETRY_DROPPED = Counter "tidegate_telemetry_dropped_total" ["signal"]
        "What was not sent to a collector: traces, lines of the log (logs), whole reports of \
         metrics.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" []
        "Total user and system CPU time spent in seconds.";
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" []
        "Resident memory size in bytes.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" []
        "Virtual memory size in bytes.";
    PROCESS_THREADS = Gauge "process_threads" []
        "Number of threads of the process.";
    PROCESS_FILES = Gauge "process_open_fds" []
        "Number of open file descriptors.";
    PROCESS_MAX_FILES = Gauge "process_max_fds" []
        "Maximum number of open file descriptors.";
    PROCESS_START = Gauge "process_start_time_seconds" []
        "Start time of the process since unix epoch in seconds.";
}
