//! Families about Redis: what is sent, how long it takes, who is not asked.

families! {
    "Redis"

    REDIS_CALL_DURATION = Histogram "tidegate_redis_call_duration_seconds" ["server"]
        "How long a round trip of counting took; one that was given up counts with the time \
         until then.";
    REDIS_GROUP_SIZE = Histogram "tidegate_redis_group_size" []
        "How many batches (a request has one, in a cluster one for each slot) shared a call of \
         the script.";
    REDIS_COMMANDS = Counter "tidegate_redis_commands_total" ["server"]
        "Commands sent for counting; those of one round trip travel together.";
    REDIS_OPERATIONS = Counter "tidegate_redis_operations_total" ["server"]
        "Operations on counters in these commands.";
    REDIS_WAITING = Gauge "tidegate_redis_waiting" ["server"]
        "Batches that wait for the round trip before theirs.";
    CIRCUITS_OPEN = Gauge "tidegate_circuits_open" ["server"]
        "Connections to a Redis server that decisions do not use for now.";
    CIRCUITS_OPENED = Counter "tidegate_circuits_opened_total" ["server"]
        "How often decisions left a connection to a Redis server alone.";
}
