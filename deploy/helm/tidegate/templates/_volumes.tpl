{{- /* What is mounted below /etc/tidegate: a map of directory to secret and, if not all of it, its keys. Whole
directories, never single files: only those follow an updated secret. */ -}}
{{- define "tidegate.secrets" -}}
{{- with .Values.tls.existingSecret }}
tls: {secret: {{ . | quote }}}
{{- end }}
{{- $auth := include "tidegate.redisAuth" . | fromYaml -}}
{{- if and .Values.redis.existingSecret $auth (eq .Values.redis.authFrom "file") }}
redis: {secret: {{ .Values.redis.existingSecret | quote }}, keys: {{ values $auth | uniq | sortAlpha | toJson }}}
{{- end }}
{{- with .Values.redis.tls.existingSecret }}
redis-tls: {secret: {{ . | quote }}}
{{- end }}
{{- with .Values.adminToken }}
{{- if .existingSecret }}
admin: {secret: {{ .existingSecret | quote }}, keys: [{{ .key | quote }}]}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tidegate.volumeMounts" -}}
- {name: rules, mountPath: /data/ratelimit/config, readOnly: true}
{{- range $name, $_ := include "tidegate.secrets" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/tidegate/{{ $name }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tidegate.volumes" -}}
- name: rules
  configMap: {name: {{ include "tidegate.rulesConfigMap" . }}}
{{- range $name, $source := include "tidegate.secrets" . | fromYaml }}
- name: {{ $name }}
  secret:
    secretName: {{ $source.secret }}
    # r--r-----, for the group of the pod.
    defaultMode: 288
    {{- with $source.keys }}
    items:
    {{- range . }}
    - {key: {{ . | quote }}, path: {{ . | quote }}}
    {{- end }}
    {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
