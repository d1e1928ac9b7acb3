{{- define "tidegate.variable" -}}
- name: {{ index . 0 }}
  value: {{ include "tidegate.text" (index . 1) | quote }}
{{- end -}}

{{- /* list NAME SECRET KEY */ -}}
{{- define "tidegate.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef: {name: {{ index . 1 | quote }}, key: {{ index . 2 | quote }}}
{{- end -}}

{{- /* The passwords of Redis that there are, as a map of variable to key of the secret. */ -}}
{{- define "tidegate.redisAuth" -}}
{{- $keys := .Values.redis.keys -}}
{{- $all := dict "REDIS_AUTH" $keys.auth "REDIS_SENTINEL_AUTH" $keys.sentinelAuth "REDIS_PERSECOND_AUTH" $keys.perSecondAuth "REDIS_PERSECOND_SENTINEL_AUTH" $keys.perSecondSentinelAuth -}}
{{- range $name, $key := $all }}
{{- if $key }}
{{ $name }}: {{ $key | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tidegate.env" -}}
{{- $v := .Values -}}
{{ include "tidegate.variable" (list "PORT" "8080") }}
{{ include "tidegate.variable" (list "GRPC_PORT" "8081") }}
{{- /* Rules: a directory that is swapped as a whole. */}}
{{ include "tidegate.variable" (list "RUNTIME_ROOT" "/data") }}
{{ include "tidegate.variable" (list "RUNTIME_SUBDIRECTORY" "ratelimit") }}
{{ include "tidegate.variable" (list "RUNTIME_WATCH_ROOT" "false") }}
{{ include "tidegate.variable" (list "RUNTIME_IGNOREDOTFILES" "true") }}
{{ include "tidegate.variable" (list "TIDEGATE_DRAIN_DELAY" (printf "%ds" (int $v.shutdown.drainSeconds))) }}
{{ include "tidegate.variable" (list "TIDEGATE_SHUTDOWN_GRACE" (printf "%ds" (int $v.shutdown.graceSeconds))) }}
{{ include "tidegate.variable" (list "TIDEGATE_REPLICAS" (include "tidegate.maxReplicas" .)) }}
{{- if $v.metrics.enabled }}
{{ include "tidegate.variable" (list "USE_PROMETHEUS" "true") }}
{{ include "tidegate.variable" (list "PROMETHEUS_ADDR" ":9090") }}
{{- end }}
{{- if not (hasKey $v.settings "USE_STATSD") }}
{{ include "tidegate.variable" (list "USE_STATSD" "false") }}
{{- end }}
{{- include "tidegate.redisEnv" . }}
{{- include "tidegate.tlsEnv" . }}
{{- include "tidegate.reportEnv" . }}
{{- range $name, $value := $v.settings }}
{{- if not (kindIs "invalid" $value) }}
{{ include "tidegate.variable" (list $name $value) }}
{{- end }}
{{- end }}
{{- with $v.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tidegate.redisEnv" -}}
{{- $r := .Values.redis -}}
{{- $secret := $r.existingSecret -}}
{{- if and $secret $r.keys.url }}
{{ include "tidegate.secretVariable" (list "REDIS_URL" $secret $r.keys.url) }}
{{- else if $r.url }}
{{ include "tidegate.variable" (list "REDIS_URL" $r.url) }}
{{- end }}
{{- if or $r.url (and $secret $r.keys.url) }}
{{ include "tidegate.variable" (list "REDIS_TYPE" $r.type) }}
{{- end }}
{{- if $secret }}
{{- range $name, $key := include "tidegate.redisAuth" . | fromYaml }}
{{- if eq $r.authFrom "env" }}
{{ include "tidegate.secretVariable" (list $name $secret $key) }}
{{- else }}
{{ include "tidegate.variable" (list (printf "%s_FILE" $name) (printf "/etc/tidegate/redis/%s" $key)) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $r.tls.enabled }}
{{ include "tidegate.variable" (list "REDIS_TLS" "true") }}
{{- end }}
{{- if and $r.tls.existingSecret $r.tls.ca }}
{{ include "tidegate.variable" (list "REDIS_TLS_CACERT" "/etc/tidegate/redis-tls/ca.crt") }}
{{- end }}
{{- if and $r.tls.existingSecret $r.tls.clientCertificate }}
{{ include "tidegate.variable" (list "REDIS_TLS_CLIENT_CERT" "/etc/tidegate/redis-tls/tls.crt") }}
{{ include "tidegate.variable" (list "REDIS_TLS_CLIENT_KEY" "/etc/tidegate/redis-tls/tls.key") }}
{{- end }}
{{- end -}}

{{- define "tidegate.tlsEnv" -}}
{{- with .Values.tls }}
{{- if .existingSecret }}
{{ include "tidegate.variable" (list "GRPC_SERVER_USE_TLS" "true") }}
{{ include "tidegate.variable" (list "GRPC_SERVER_TLS_CERT" "/etc/tidegate/tls/tls.crt") }}
{{ include "tidegate.variable" (list "GRPC_SERVER_TLS_KEY" "/etc/tidegate/tls/tls.key") }}
{{- if .clientCa }}
{{ include "tidegate.variable" (list "GRPC_CLIENT_TLS_CACERT" "/etc/tidegate/tls/ca.crt") }}
{{- end }}
{{- if .clientSan }}
{{ include "tidegate.variable" (list "GRPC_CLIENT_TLS_SAN" .clientSan) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.adminToken }}
{{- if .existingSecret }}
{{ include "tidegate.variable" (list "TIDEGATE_ADMIN_TOKEN_FILE" (printf "/etc/tidegate/admin/%s" .key)) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tidegate.reportEnv" -}}
{{- with .Values.sentry }}
{{- if .existingSecret }}
{{ include "tidegate.secretVariable" (list "SENTRY_DSN" .existingSecret .key) }}
{{- end }}
{{- end }}
{{- with .Values.otlp }}
{{- if .endpoint }}
{{ include "tidegate.variable" (list "TRACING_ENABLED" "true") }}
{{ include "tidegate.variable" (list "TRACING_SERVICE_NAME" (include "tidegate.fullname" $)) }}
{{ include "tidegate.variable" (list "TRACING_SERVICE_NAMESPACE" $.Release.Namespace) }}
{{ include "tidegate.variable" (list "TRACING_EXPORTER_PROTOCOL" .protocol) }}
{{ include "tidegate.variable" (list "TRACING_SAMPLING_RATE" .samplingRate) }}
{{ include "tidegate.variable" (list "OTEL_EXPORTER_OTLP_ENDPOINT" .endpoint) }}
- name: TRACING_SERVICE_INSTANCE_ID
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
{{- end }}
{{- end }}
{{- end -}}
