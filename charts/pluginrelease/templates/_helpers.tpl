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

{{- /* The name of what is about the Lease: its namespace is not this install's own. */ -}}
{{- define "pluginrelease.leasename" -}}
{{- printf "%s-lease" (include "pluginrelease.fullname" . | trunc 57 | trimSuffix "-") -}}
{{- end -}}

{{- define "pluginrelease.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pluginrelease.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create is false: say in serviceAccount.name which ServiceAccount the operator is to use" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pluginrelease.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pluginrelease.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* On all objects but the CRD. Labels of the user's never take the place of the chart's own. */ -}}
{{- define "pluginrelease.labels" -}}
{{- $own := include "pluginrelease.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- mergeOverwrite (dict) .Values.commonLabels $own | toYaml -}}
{{- end -}}

{{- /* Of pods that no mesh may add a proxy to: Istio's sidecars, and its ambient mode. */ -}}
{{- define "pluginrelease.outsideMesh" -}}
sidecar.istio.io/inject: "false"
istio.io/dataplane-mode: none
{{- end -}}

{{- /* Whether the ids of users and groups are the cluster's own. */ -}}
{{- define "pluginrelease.idsUnset" -}}
{{- $how := .Values.openshift.adaptSecurityContext -}}
{{- if or (eq $how "force") (and (eq $how "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) -}}true{{- end -}}
{{- end -}}

{{- define "pluginrelease.podSecurityContext" -}}
{{- $context := .Values.podSecurityContext -}}
{{- if include "pluginrelease.idsUnset" . -}}{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{- define "pluginrelease.containerSecurityContext" -}}
{{- $context := .Values.containerSecurityContext -}}
{{- if include "pluginrelease.idsUnset" . -}}{{- $context = omit $context "runAsUser" "runAsGroup" -}}{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{- /* Where a pod may run, for every pod of the chart. */ -}}
{{- define "pluginrelease.placement" -}}
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
{{- end -}}

{{- define "pluginrelease.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The name of the job that an uninstall asks first. */ -}}
{{- define "pluginrelease.guardname" -}}
{{- printf "uninstall-%s" (include "pluginrelease.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What the operator needs where releases are. */}}
{{- define "pluginrelease.releaseRules" -}}
# the releases themselves; patch puts the finalizer on and takes it off
- apiGroups: [pluginrelease.io]
  resources: [pluginreleases]
  verbs: [get, list, watch, patch]
# what was seen, by server-side apply
- apiGroups: [pluginrelease.io]
  resources: [pluginreleases/status]
  verbs: [patch]
# what can be rolled back to
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, create, patch, delete]
# the Secrets that a release names, and those that keep a revision's values of configFrom; never listed or watched
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
# the ConfigMaps that configFrom names; never listed or watched
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
# `kubectl describe prel`
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What the operator needs where gateways are. */}}
{{- define "pluginrelease.gatewayRules" -}}
# the objects that make the gateways load the plugin
- apiGroups: [extensions.istio.io, extensions.higress.io]
  resources: [wasmplugins]
  verbs: [get, list, watch, create, patch, delete]
# which gateway pods there are
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# the gateways' admin port, which listens inside the pod only; Kubernetes 1.35 and newer ask for create
- apiGroups: [""]
  resources: [pods/portforward]
  verbs: [get, create]
# what the gateways say about the plugin
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# the copy of the pull secret; never listed or watched
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
# whether the namespace allows releases of others: the annotation pluginrelease.io/allowed-namespaces
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{/* A Role of the operator and its binding: a dict of root, name, namespace and rules. */}}
{{- define "pluginrelease.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "pluginrelease.labels" .root | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "pluginrelease.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "pluginrelease.serviceAccountName" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
