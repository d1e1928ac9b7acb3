//! Families about the rules in force and where they come from.

families! {
    "Rules"

    RULES_INFO = Gauge "tidegate_rules_info" ["version"]
        "The rules in force; always 1.";
    RULES = Gauge "tidegate_rules" []
        "Limits in force.";
    DOMAINS = Gauge "tidegate_domains" []
        "Domains in force.";
    RULES_LOADED_AT = Gauge "tidegate_rules_load_timestamp_seconds" []
        "When the rules in force were loaded; 0 before that.";
    RULES_LOADS = Counter "tidegate_rules_loads_total" ["outcome"]
        "Loads of rules, by outcome: in_force, refused.";
    RULES_FAILING = Gauge "tidegate_rules_load_failing" []
        "Whether the last load of rules was refused: 1 or 0.";
    RULES_FAILED_AT = Gauge "tidegate_rules_load_failure_timestamp_seconds" []
        "When a load of rules was last refused; 0 if none was.";
    XDS_CONNECTED = Gauge "tidegate_xds_connected" []
        "Whether there is a connection to the management server: 1 or 0.";
    XDS_ACCEPTED = Counter "tidegate_xds_updates_accepted_total" []
        "Answers of the management server that were accepted.";
    XDS_REJECTED = Counter "tidegate_xds_updates_rejected_total" []
        "Answers of the management server that were refused.";
    XDS_CONTACT = Gauge "tidegate_xds_contact_timestamp_seconds" []
        "When the management server last sent rules; 0 before that.";
}
