{{- define "tenure.declared" -}}
{{ .Files.Get "files/declared.json" }}
{{- end }}

{{- define "tenure.labels" -}}
app.kubernetes.io/part-of: tenure
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Labels that no version of the chart changes: Strimzi copies a label of Kafka and of its pools to the pods, and starts
all brokers again when one is another. */ -}}
{{- define "tenure.lasting" -}}
app.kubernetes.io/part-of: tenure
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tenure.kafka" -}}
{{ if .Values.kafka.managed }}tenure-kafka-bootstrap.{{ .Release.Namespace }}.svc:9093{{ else }}{{ .Values.kafka.bootstrap }}{{ end }}
{{- end }}

{{- define "tenure.postgres" -}}
{{ if .Values.postgres.managed }}tenure-postgres-rw.{{ .Release.Namespace }}.svc:5432{{ else }}{{ .Values.postgres.address }}{{ end }}
{{- end }}

{{- define "tenure.image" -}}
{{ with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- /* The labels by which a process's pods are found: (dict "process" …). */ -}}
{{- define "tenure.selector" -}}
app.kubernetes.io/part-of: tenure
app.kubernetes.io/name: {{ .process.component }}
app.kubernetes.io/component: {{ .process.part }}
{{- end }}

{{- /* The variables of a process: (dict "root" $ "declared" … "process" …). A text of the code may be a template. Without
a user of Kafka, what all others have in common is not set: half of an access is refused. */ -}}
{{- define "tenure.environment" -}}
{{- $shared := ternary .declared.environment (dict) (hasKey .process.environment "KAFKA_USERNAME") }}
{{- range $name, $text := merge (dict) .process.environment .root.Values.environment $shared }}
{{- with tpl $text $.root }}
- name: {{ $name }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- range $name, $secret := .process.secretEnvironment }}
{{- with tpl $secret $.root }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ . }}, key: url}}
{{- end }}
{{- end }}
{{- end }}

{{- /* The pod of a process: (dict "root" $ "declared" … "process" …). */ -}}
{{- define "tenure.pod" -}}
{{- $values := .root.Values }}
{{- $kafka := hasKey .process.environment "KAFKA_USERNAME" }}
{{- $database := hasKey .process.environment "DATABASE_URL" }}
{{- $anchors := has .process.part (list "relay" "operations") }}
{{- $providers := and $values.providers.file (hasKey .process.environment "TENURE_OIDC_PROVIDERS_FILE") }}
{{- $clients := and $values.providers.secret (eq .process.part "edge") }}
serviceAccountName: tenure
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: {{ .process.part }}
    image: {{ include "tenure.image" .root | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command: {{ toJson .process.command }}
    env:
      {{- include "tenure.environment" . | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    resources: {{ toJson (get $values.parts .process.part).resources }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: secrets, mountPath: /run/secrets, readOnly: true}
      {{- if $kafka }}
      - {name: kafka-ca, mountPath: /etc/kafka-ca, readOnly: true}
      {{- end }}
      {{- if $database }}
      - {name: postgres-ca, mountPath: /etc/postgres-ca, readOnly: true}
      {{- end }}
      {{- if $anchors }}
      - {name: anchors, mountPath: /var/lib/tenure/anchors}
      {{- end }}
      {{- if $providers }}
      - {name: providers, mountPath: /etc/tenure, readOnly: true}
      {{- end }}
      {{- if $clients }}
      - {name: oidc, mountPath: /run/oidc, readOnly: true}
      {{- end }}
    {{- if .process.port }}
    ports:
      - {name: http, containerPort: {{ .process.port }}}
    {{- toYaml .declared.probes | nindent 4 }}
    {{- end }}
volumes:
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 64Mi}
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- range .process.secrets }}
        - secret: {name: {{ . }}, items: [{key: password, path: {{ . }}}]}
        {{- end }}
  {{- if $kafka }}
  - name: kafka-ca
    secret: {secretName: {{ $values.kafka.caSecret }}, items: [{key: ca.crt, path: ca.pem}]}
  {{- end }}
  {{- if $database }}
  - name: postgres-ca
    secret: {secretName: {{ $values.postgres.caSecret }}, items: [{key: ca.crt, path: ca.pem}]}
  {{- end }}
  {{- if $anchors }}
  - name: anchors
    {{- if $values.anchors.claim }}
    persistentVolumeClaim: {claimName: {{ $values.anchors.claim }}}
    {{- else }}
    emptyDir: {}
    {{- end }}
  {{- end }}
  {{- if $providers }}
  - name: providers
    configMap: {name: tenure-providers}
  {{- end }}
  {{- if $clients }}
  - name: oidc
    secret: {secretName: {{ $values.providers.secret }}, defaultMode: 0440}
  {{- end }}
{{- end }}
