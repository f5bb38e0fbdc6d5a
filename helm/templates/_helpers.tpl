{{- define "aiosfu.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "aiosfu.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "aiosfu.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "aiosfu.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "aiosfu.selector" -}}
app.kubernetes.io/name: {{ include "aiosfu.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "aiosfu.coturnSelector" -}}
app.kubernetes.io/name: {{ include "aiosfu.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: turn
{{- end -}}

{{- define "aiosfu.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: aiosfu
{{- end -}}

{{- define "aiosfu.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "aiosfu.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "aiosfu.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "aiosfu.secretName" -}}
{{ .Values.secrets.existingSecret | default (include "aiosfu.fullname" .) }}
{{- end -}}

{{- /* Ports and deadlines are the server's settings: read where the operator wrote them. */ -}}
{{- define "aiosfu.httpPort" -}}{{ dig "http" "port" 7880 .Values.config | int }}{{- end -}}
{{- define "aiosfu.udpPort" -}}{{ dig "rtc" "udp_port" 7882 .Values.config | int }}{{- end -}}
{{- /* ICE-TCP: on where the pod has ports of the node. Not all load balancers mix UDP and TCP; STUNner has its own TCP. */ -}}
{{- define "aiosfu.tcpPort" -}}
{{ dig "rtc" "tcp_port" (ternary 7881 0 (has .Values.media.mode (list "hostPort" "hostNetwork"))) .Values.config | int }}
{{- end -}}
{{- /* 0: no RTMP. */ -}}
{{- define "aiosfu.rtmpPort" -}}{{ dig "ingest" "rtmp_port" 0 .Values.config | int }}{{- end -}}
{{- define "aiosfu.rtmpsPort" -}}{{ dig "ingest" "rtmps_port" 0 .Values.config | int }}{{- end -}}
{{- define "aiosfu.mediaPort" -}}
{{- if eq .Values.media.mode "loadBalancer" -}}
{{ .Values.media.loadBalancer.port | default (include "aiosfu.udpPort" .) | int }}
{{- else -}}
{{ include "aiosfu.udpPort" . }}
{{- end -}}
{{- end -}}
{{- define "aiosfu.scheme" -}}
{{- if or .Values.tls.existingSecret (dig "http" "tls_certificate" "" .Values.config) -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}
{{- /* The longest time of a pod's end: its rooms move to other pods, then meetings that stayed end by themselves. */ -}}
{{- define "aiosfu.drain" -}}
{{- add (dig "node" "drain_timeout" 0 .Values.config | int) (ternary .Values.nodes.drainTimeout 0 (eq (include "aiosfu.clustered" .) "yes") | int) | int -}}
{{- end -}}
{{- define "aiosfu.grace" -}}
{{- .Values.terminationGracePeriodSeconds | default (add (include "aiosfu.drain" . | int) 60) | int -}}
{{- end -}}

{{- /* The pods are one server that shares Redis. */ -}}
{{- define "aiosfu.clustered" -}}
{{- if or .Values.redis.url .Values.redis.existingSecret -}}yes{{- end -}}
{{- end -}}
{{- define "aiosfu.clusterPort" -}}{{ dig "cluster" "listen" "0.0.0.0:7883" .Values.config | splitList ":" | last | int }}{{- end -}}
{{- define "aiosfu.clusterSecretName" -}}
{{ .Values.nodes.existingSecret | default (printf "%s-cluster" (include "aiosfu.fullname" .)) }}
{{- end -}}
{{- define "aiosfu.redisSecretName" -}}
{{ .Values.redis.existingSecret | default (printf "%s-cluster" (include "aiosfu.fullname" .)) }}
{{- end -}}

{{- define "aiosfu.announce" -}}
{{- if .Values.media.announce -}}
{{ join "," .Values.media.announce }}
{{- else if and (eq .Values.media.mode "hostPort") (not (dig "rtc" "announce" "" .Values.config)) -}}
$(HOST_IP)
{{- end -}}
{{- end -}}

{{- /* The addresses of the chart's own coturn that clients get. */ -}}
{{- define "aiosfu.turnUrls" -}}
{{- if .Values.coturn.enabled -}}
{{- $host := .Values.coturn.realm -}}
turn:{{ $host }}:{{ .Values.coturn.port }}?transport=udp,turn:{{ $host }}:{{ .Values.coturn.port }}?transport=tcp
{{- if .Values.coturn.tlsSecret -}}
,turns:{{ $host }}:{{ .Values.coturn.tlsPort }}?transport=tcp
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "aiosfu.usesTurn" -}}
{{- if or .Values.coturn.enabled (dig "turn" "urls" "" .Values.config) -}}yes{{- end -}}
{{- end -}}

{{- /* The port of a URL, or what its scheme says, or the second argument. */ -}}
{{- define "aiosfu.portOf" -}}
{{- $url := index . 0 -}}
{{- $port := regexFind ":[0-9]+(/|$)" $url | trimPrefix ":" | trimSuffix "/" -}}
{{- if $port -}}{{ $port }}
{{- else if hasPrefix "https:" $url -}}443
{{- else if hasPrefix "http:" $url -}}80
{{- else -}}{{ index . 1 }}
{{- end -}}
{{- end -}}

{{- define "aiosfu.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "aiosfu.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}
