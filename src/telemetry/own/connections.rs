//! Families about listeners and those who are connected.

families! {
    "Listeners"

    CONNECTIONS = Gauge "tidegate_connections" ["listener"]
        "Connections that are open, those that shake hands included: grpc, http, debug, metrics.";
    CONNECTIONS_REFUSED = Counter "tidegate_connections_refused_total" ["listener"]
        "Connections that came while TIDEGATE_MAX_CONNECTIONS were open.";
    TURNED_AWAY = Counter "tidegate_turned_away_total" ["reason"]
        "Connections that were given up: silent, stalled, idle, lingering (did not go), unruly \
         (broke the protocol or a bound of it); and requests: slow, crowded, unauthorized.";
    UNFINISHED_BYTES = Gauge "tidegate_unfinished_request_bytes" []
        "Bytes of requests whose end has not come; see TIDEGATE_MAX_UNFINISHED_BYTES.";
    TLS_EXPIRES_AT = Gauge "tidegate_tls_certificate_expiry_timestamp_seconds" []
        "When the certificate of the gRPC listener ends.";
    TLS_RELOAD_FAILURES = Counter "tidegate_tls_reload_failures_total" []
        "Changes of the TLS files that could not be used.";
    TLS_HANDSHAKE_FAILURES = Counter "tidegate_tls_handshake_failures_total" []
        "TLS handshakes that gave no session.";
}
