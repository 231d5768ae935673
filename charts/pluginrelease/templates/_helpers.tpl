{{- define "pluginrelease.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of the objects: the release's name, with the chart's unless that is in it already. */ -}}
{{- define "pluginrelease.fullname" -}}
{{- $name := include "pluginrelease.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The name of what `helm test` makes: that of a Service has to begin with a letter. */ -}}
{{- define "pluginrelease.testname" -}}
{{- printf "readyz-%s" (include "pluginrelease.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "pluginrelease.serviceAccountName" -}}
{{- default (include "pluginrelease.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "pluginrelease.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pluginrelease.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* On all objects but the CRD. */ -}}
{{- define "pluginrelease.labels" -}}
{{ include "pluginrelease.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "pluginrelease.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}
