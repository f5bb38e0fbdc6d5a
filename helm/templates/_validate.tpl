{{- /* Rejects invalid combinations of values with a reason. values.schema.json rejects invalid single values. */ -}}
{{- define "aiosfu.validate" -}}
{{- $v := .Values -}}
{{- $mode := $v.media.mode -}}
{{- $many := or (gt (int $v.replicas) 1) (ne $v.autoscaling.type "none") -}}
{{- $clustered := eq (include "aiosfu.clustered" .) "yes" -}}
{{- $announce := or $v.media.announce (dig "rtc" "announce" list $v.config) -}}

{{- range $path := list "auth.keys" "turn.secret" "egress.s3.secret_key" "events.kafka.password" "cluster.redis_url" "cluster.secrets" }}
  {{- $found := $v.config }}
  {{- range splitList "." $path }}{{ $found = get ($found | default dict) . }}{{ end }}
  {{- if $found }}
    {{- fail (printf "config.%s: secrets do not belong in a ConfigMap. Store it in a Secret and name the Secret in secrets.existingSecret (recordings.s3.existingSecret, redis.existingSecret, nodes.existingSecret)." $path) }}
  {{- end }}
{{- end }}
{{- if and $v.secrets.existingSecret (or $v.secrets.keys $v.secrets.turn) }}
  {{- fail "secrets: existingSecret and keys (or turn) are both set: keep one of them." }}
{{- end }}
{{- if and $v.media.announce (dig "rtc" "announce" "" $v.config) }}
  {{- fail "media.announce and config.rtc.announce are both set: keep one of them." }}
{{- end }}

{{- range $announce }}
  {{- if not (regexMatch "^[0-9a-fA-F:.\\[\\]]+$" .) }}
    {{- fail (printf "media.announce %s: must be an address (or ADDRESS:PORT), because clients do not resolve names in candidates." .) }}
  {{- end }}
{{- end }}
{{- range $name, $port := dict "http.port" (include "aiosfu.httpPort" .) "rtc.udp_port" (include "aiosfu.udpPort" .) }}
  {{- if lt (int $port) 1024 }}
    {{- fail (printf "config.%s is %s: the server runs without capabilities and cannot open a port below 1024. Port 0 is not possible either, because a Service needs a fixed port." $name $port) }}
  {{- end }}
{{- end }}

{{- $tcp := include "aiosfu.tcpPort" . | int }}
{{- if and $tcp (lt $tcp 1024) }}
  {{- fail (printf "config.rtc.tcp_port is %d: the server runs without capabilities and cannot open a port below 1024." $tcp) }}
{{- end }}
{{- if eq $tcp (include "aiosfu.httpPort" . | int) }}
  {{- fail (printf "config.rtc.tcp_port and config.http.port are both %d. For ICE-TCP on the port of HTTPS, set config.rtc.tcp_over_https_port." $tcp) }}
{{- end }}

{{- $drain := include "aiosfu.drain" . | int }}
{{- if and $v.terminationGracePeriodSeconds (lt (int $v.terminationGracePeriodSeconds) (add $drain 15 | int)) }}
  {{- fail (printf "terminationGracePeriodSeconds %d: the kubelet would kill the server before it has drained (%d plus 15 seconds: config.node.drain_timeout, and nodes.drainTimeout of a cluster). Leave it 0, or increase it." (int $v.terminationGracePeriodSeconds) $drain) }}
{{- end }}
{{- if and $v.networkPolicy.enabled (dig "traces" "endpoint" "" $v.config) (not $v.networkPolicy.otlp) (not $v.networkPolicy.extraEgress) }}
  {{- fail "config.traces.endpoint: the NetworkPolicy blocks connections to the collector. List its peers in networkPolicy.otlp." }}
{{- end }}

{{- if and $many (not $v.sharded) (not $clustered) }}
  {{- fail "replicas above 1 (or autoscaling): a room lives in one process, and pods find it through Redis only. Set redis.existingSecret or redis.url (or sharded: true, if your load balancer sends all participants of a room to the same pod)." }}
{{- end }}
{{- if $clustered }}
  {{- if and $v.redis.url $v.redis.existingSecret }}
    {{- fail "redis: url and existingSecret are both set: keep one of them." }}
  {{- end }}
  {{- if $v.sharded }}
    {{- fail "redis and sharded are both set: the pods of a cluster share all rooms. Set sharded to false." }}
  {{- end }}
  {{- if dig "cluster" "directory_socket" "" $v.config }}
    {{- fail "config.cluster.directory_socket and redis are both set: keep one of them." }}
  {{- end }}
  {{- if hasPrefix "unix:" (dig "cluster" "listen" "" $v.config) }}
    {{- fail "config.cluster.listen: other pods cannot reach a Unix socket; use host:port." }}
  {{- end }}
  {{- range $name := list "node_id" "advertise" }}
    {{- if dig "cluster" $name "" $v.config }}
      {{- fail (printf "config.cluster.%s: each pod has its own; the chart sets it." $name) }}
    {{- end }}
  {{- end }}
  {{- $internal := include "aiosfu.clusterPort" . | int }}
  {{- if lt $internal 1024 }}
    {{- fail (printf "config.cluster.listen: port %d: the server runs without capabilities and cannot open a port below 1024." $internal) }}
  {{- end }}
  {{- range $name, $port := dict "http.port" (include "aiosfu.httpPort" .) "rtc.tcp_port" (include "aiosfu.tcpPort" .) }}
    {{- if eq $internal (int $port) }}
      {{- fail (printf "config.cluster.listen and config.%s are both port %d." $name $internal) }}
    {{- end }}
  {{- end }}
  {{- if and $v.networkPolicy.enabled (not $v.networkPolicy.redis) (not $v.networkPolicy.extraEgress) }}
    {{- fail "redis: the NetworkPolicy blocks connections to Redis. List its peers in networkPolicy.redis, and its ports in networkPolicy.redisPorts." }}
  {{- end }}
{{- end }}
{{- if and (eq $mode "loadBalancer") $many }}
  {{- fail "media.mode loadBalancer with several pods: one UDP address delivers packets to any of them, but a connection lives in one pod. Use hostPort, hostNetwork or stunner, or one release per pod." }}
{{- end }}
{{- if and (eq $mode "loadBalancer") $v.strategy (ne (get $v.strategy "type" | default "RollingUpdate") "Recreate") }}
  {{- fail "strategy with media.mode loadBalancer: during a rolling update one UDP address would lead to two pods, and each would receive half of the packets. Leave it empty, which means Recreate." }}
{{- end }}
{{- if and (eq $mode "loadBalancer") (not $announce) }}
  {{- fail "media.mode loadBalancer: the server has to announce the load balancer's address, which it cannot detect. Reserve an address, and set media.announce (and media.loadBalancer.ip)." }}
{{- end }}
{{- if and (eq $mode "loadBalancer") $v.media.loadBalancer.port (ne (int $v.media.loadBalancer.port) (int (include "aiosfu.udpPort" .))) }}
  {{- range $announce }}
    {{- if not (hasSuffix (printf ":%d" (int $v.media.loadBalancer.port)) .) }}
      {{- fail (printf "media.announce %s: clients reach the load balancer at port %d, so announce %s:%d." . (int $v.media.loadBalancer.port) . (int $v.media.loadBalancer.port)) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if and (has $mode (list "hostPort" "hostNetwork")) $v.media.announce $many }}
  {{- fail (printf "media.announce with several pods in media.mode %s: each pod has another node's address, but all would announce the same." $mode) }}
{{- end }}
{{- if and (eq $mode "hostNetwork") $v.networkPolicy.enabled }}
  {{- fail "media.mode hostNetwork: NetworkPolicies do not apply to pods in the host's network. Set networkPolicy.enabled to false and use the node's firewall, or use hostPort." }}
{{- end }}
{{- if eq $mode "stunner" }}
  {{- if not (dig "turn" "urls" "" $v.config) }}
    {{- fail "media.mode stunner: clients reach the pods only through the gateway's TURN server, which the server has to announce: set config.turn.urls to its address, and the shared secret." }}
  {{- end }}
  {{- if $announce }}
    {{- fail "media.mode stunner: the gateway relays to the pods' own addresses; media.announce (or config.rtc.announce) would replace them." }}
  {{- end }}
  {{- if $v.coturn.enabled }}
    {{- fail "media.mode stunner already has a TURN server: disable coturn." }}
  {{- end }}
{{- end }}

{{- if and (not $v.secrets.existingSecret) (include "aiosfu.usesTurn" .) (not $v.secrets.turn) (dig "turn" "urls" "" $v.config) }}
  {{- fail "config.turn.urls: the shared secret of the TURN server is missing: set secrets.turn, or secrets.existingSecret with an entry turn." }}
{{- end }}
{{- if $v.coturn.enabled }}
  {{- if not $v.coturn.realm }}
    {{- fail "coturn.realm: set the host name that clients use for coturn." }}
  {{- end }}
  {{- if dig "turn" "urls" "" $v.config }}
    {{- fail "coturn.enabled and config.turn.urls are both set: the chart announces its own coturn; keep one of them." }}
  {{- end }}
  {{- if and (not $v.coturn.allowedPeers) (not $v.media.announce) }}
    {{- fail "coturn.allowedPeers: coturn relays to the server's media addresses only; list them (a range of node addresses such as 10.0.0.1-10.0.0.99), or set media.announce." }}
  {{- end }}
{{- end }}

{{- if and (eq $v.recordings.type "pvc") $many (not (has "ReadWriteMany" $v.recordings.accessModes)) }}
  {{- fail "recordings.type pvc with several pods: a ReadWriteOnce volume is mounted on one node only. Use ReadWriteMany or s3." }}
{{- end }}
{{- if and (eq $v.recordings.type "s3") (dig "egress" "s3" "bucket" "" $v.config) }}
  {{- fail "recordings.type s3 and config.egress.s3 are both set: keep one of them." }}
{{- end }}
{{- if eq $v.recordings.type "s3" }}
  {{- range $name := list "bucket" "existingSecret" }}
    {{- if not (get $v.recordings.s3 $name) }}
      {{- fail (printf "recordings.type s3 needs recordings.s3.%s." $name) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- $rtmp := int (include "aiosfu.rtmpPort" .) }}
{{- $rtmps := int (include "aiosfu.rtmpsPort" .) }}
{{- range $name, $port := dict "rtmp_port" $rtmp "rtmps_port" $rtmps }}
  {{- if and $port (lt $port 1024) }}
    {{- fail (printf "config.ingest.%s is %d: the server runs without capabilities and cannot open a port below 1024." $name $port) }}
  {{- end }}
{{- end }}
{{- if and $rtmps (ne (include "aiosfu.scheme" .) "HTTPS") }}
  {{- fail "config.ingest.rtmps_port: RTMPS uses the server's certificate, and the TLS of an ingress does not cover it. Set tls.existingSecret." }}
{{- end }}
{{- if and (or $many $clustered) (or $rtmp $rtmps) }}
  {{- fail "config.ingest.rtmp_port with several pods or a cluster: only the pod that created a stream key knows it, and the Service would connect encoders to any pod. Use one release per pod for ingest." }}
{{- end }}
{{- if and (or $many $clustered) (eq $v.ingestVolume.type "pvc") }}
  {{- fail "ingestVolume.type pvc with several pods: each pod would pull all cameras. Use one release per pod for ingest." }}
{{- end }}
{{- if and (eq $v.autoscaling.type "keda") (not $v.autoscaling.prometheus) }}
  {{- fail "autoscaling.type keda queries Prometheus for sfu_capacity_used_ratio: set autoscaling.prometheus to its address." }}
{{- end }}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) }}
  {{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas." }}
{{- end }}
{{- if and (ne $v.autoscaling.type "none") (not (dig "http" "metrics" true $v.config)) }}
  {{- fail "autoscaling reads sfu_capacity_used_ratio from /metrics, which config.http.metrics turns off." }}
{{- end }}
{{- if and $v.monitoring.serviceMonitor.enabled (not (dig "http" "metrics" true $v.config)) }}
  {{- fail "monitoring.serviceMonitor reads /metrics, which config.http.metrics turns off." }}
{{- end }}

{{- if $v.ingress.enabled }}
  {{- if not $v.ingress.hosts }}
    {{- fail "ingress.hosts: name at least one host." }}
  {{- end }}
  {{- if eq (include "aiosfu.scheme" .) "HTTPS" }}
    {{- if not $v.ingress.annotations }}
      {{- fail "ingress with tls.existingSecret: the server terminates TLS itself, and the ingress needs to know (for example nginx.ingress.kubernetes.io/backend-protocol: HTTPS). Set ingress.annotations, or terminate TLS in one place only." }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if $v.istio.enabled }}
  {{- if or (not $v.istio.hosts) (not $v.istio.gateways) }}
    {{- fail "istio: a VirtualService needs hosts and gateways." }}
  {{- end }}
  {{- if $v.istio.routes }}
    {{- $sum := 0 }}{{ $live := 0 }}
    {{- range $v.istio.routes }}
      {{- $sum = add $sum .weight }}
      {{- if gt (int .weight) 0 }}{{ $live = add1 $live }}{{ end }}
    {{- end }}
    {{- if ne (int $sum) 100 }}
      {{- fail (printf "istio.routes: the weights sum to %d, not 100." (int $sum)) }}
    {{- end }}
    {{- if and (gt (int $live) 1) (not $v.sharded) }}
      {{- fail "istio.routes with several live weights: they divide requests, not rooms, and would split meetings. Use istio.canaries, weights of 100 and 0, or set sharded: true if your load balancer keeps rooms together." }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
