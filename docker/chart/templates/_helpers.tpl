{{- define "kproc.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "kproc.selector" -}}
app.kubernetes.io/name: kproc
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kproc.labels" -}}
{{ include "kproc.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Whether somebody else than the chart says how many nodes there are. */}}
{{- define "kproc.isScaled" -}}
{{- if or .Values.keda.enabled (and .Values.autoscale.enabled (eq .Values.autoscale.actuator "kubernetes")) }}true{{ end }}
{{- end }}

{{- /* How many nodes there are to be: those that there are if somebody else decides, which the API
server would make 1 if nothing were said. */}}
{{- define "kproc.replicas" -}}
{{- if include "kproc.isScaled" . }}
{{- $found := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "kproc.name" .) }}
{{- dig "spec" "replicas" .Values.autoscale.min $found | int }}
{{- else }}
{{- .Values.replicas }}
{{- end }}
{{- end }}

{{- define "kproc.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* One line of kproc.toml. Helm reads all numbers as floats: whole ones are written as such. */}}
{{- define "kproc.setting" -}}
{{ .name | toJson }} = {{ if and (kindIs "float64" .value) (eq (floor .value) .value) -}}
{{ int64 .value }}
{{- else -}}
{{ .value | toJson }}
{{- end -}}
{{- end }}

{{- define "kproc.toml" -}}
{{- range $name, $value := .Values.config }}
{{- if not (kindIs "map" $value) }}
{{ include "kproc.setting" (dict "name" $name "value" $value) }}
{{- end }}
{{- end }}
{{- range $part := list "kafka" "consumer" "producer" }}
{{- with index $.Values.config $part }}
[{{ $part }}]
{{- range $name, $value := . }}
{{ include "kproc.setting" (dict "name" $name "value" $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What every container of kproc has: who it is, what it may do, what it is told. */}}
{{- define "kproc.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* A change of settings or files is a rollout. */}}
{{- define "kproc.checksum" -}}
checksum/config: {{ print (include "kproc.toml" .) (toJson .Values.files) | sha256sum }}
{{- end }}

{{- /* Which machines pods may run on, and what goes before others there. */}}
{{- define "kproc.scheduling" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kproc.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "kproc.secretEnv" -}}
{{- range .Values.secrets }}
- name: KPROC_{{ .setting | replace "kafka." "kafka__" | replace "consumer." "consumer__" | replace "producer." "producer__" | replace "." "_" | upper }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kproc.mounts" -}}
- name: config
  mountPath: /etc/kproc/kproc.toml
  subPath: kproc.toml
  readOnly: true
{{- if .Values.files }}
- name: topologies
  mountPath: /topologies
  readOnly: true
{{- end }}
{{- if .Values.tlsSecret }}
- name: tls
  mountPath: /etc/kproc/tls
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kproc.volumes" -}}
- name: config
  configMap:
    name: {{ include "kproc.name" . }}
    items:
      - key: kproc.toml
        path: kproc.toml
{{- if .Values.files }}
- name: topologies
  configMap:
    name: {{ include "kproc.name" . }}-topologies
{{- end }}
{{- if .Values.tlsSecret }}
- name: tls
  secret:
    secretName: {{ .Values.tlsSecret }}
    defaultMode: 0440
{{- end }}
- name: tmp
  emptyDir: {}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of probes, where nodes serve by TLS. */}}
{{- define "kproc.scheme" -}}
{{- if .Values.config.http_certificate }}, scheme: HTTPS{{ end }}
{{- end }}
