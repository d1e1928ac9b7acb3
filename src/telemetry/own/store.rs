//! Families about the store, whichever it is, and about what stands before it.

families! {
    "The store"

    STORE_UP = Gauge "tidegate_store_up" []
        "Whether the store answered its last probe: 1 or 0.";
    STORE_DURATION = Histogram "tidegate_store_duration_seconds" []
        "How long decisions waited for the store, those only that had to wait.";
    STORE_ERRORS = Counter "tidegate_store_errors_total" ["kind"]
        "Counters that the store could not answer for, before on_store_error is asked: \
         unavailable, broken, timeout, refused, full.";
    MEMORY_COUNTERS = Gauge "tidegate_memory_counters" []
        "Counters that the memory store holds.";
    REPLICAS = Gauge "tidegate_replicas" []
        "How many replicas share the limits; 0: not known yet.";
    LOCAL_COUNTERS = Gauge "tidegate_local_counters" []
        "Counters held for limits that count here when the store cannot say.";
    LOCAL_OWED = Gauge "tidegate_local_hits_owed" []
        "Hits counted here that the store is yet to be told of.";
    LOCAL_REPAID = Counter "tidegate_local_hits_repaid_total" []
        "Hits counted here that the store was told of.";
    LOCAL_UNPAID = Counter "tidegate_local_hits_unpaid_total" []
        "Hits counted here that the store will not be told of.";
    LEASES = Gauge "tidegate_leases" []
        "Counters that are leased now.";
    LEASE_UNSPENT = Gauge "tidegate_lease_hits_unspent" []
        "Hits that were taken from the store and can be spent here.";
    LEASE_TAKEN = Counter "tidegate_lease_hits_taken_total" []
        "Hits that were taken from the store.";
    LEASE_SPENT = Counter "tidegate_lease_hits_spent_total" []
        "Hits that were spent without asking the store.";
    LEASE_GIVEN_BACK = Counter "tidegate_lease_hits_given_back_total" []
        "Hits that were given back to the store.";
    LEASE_LOST = Counter "tidegate_lease_hits_lost_total" []
        "Hits that nobody can spend, as a call had no answer.";
    LEASE_BLOCKS = Counter "tidegate_lease_blocks_total" ["outcome"]
        "Blocks of hits that were asked for, by outcome: granted, refused, unknown.";
}
