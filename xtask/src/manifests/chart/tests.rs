use super::*;

const DEFAULT: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: nettoll
---
apiVersion: v1
data:
  agent.toml: |
    # One line.

    listen = \"a\"
kind: ConfigMap
metadata:
  name: nettoll-agent
  namespace: nettoll
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nettoll-controller
  namespace: nettoll
spec:
  replicas: 2
  template:
    spec:
      containers:
      - image: nettoll:0.1.0
        name: controller
";
const RULE: &str = "---
kind: PrometheusRule
metadata:
  name: nettoll
  namespace: nettoll
spec:
  summary: '{{ $labels.path }} is down'
";

#[test]
fn what_a_user_chooses_becomes_a_value() {
    let files = files(DEFAULT, &format!("{DEFAULT}{RULE}")).unwrap();
    let controller = &files["templates/deployment-nettoll-controller.yaml"];
    assert!(controller.contains("\n  namespace: {{ .Release.Namespace }}\n"));
    assert!(controller.contains("\n  replicas: {{ .Values.replicas }}\n"));
    assert!(controller.contains("\n      - image: {{ .Values.image }}\n"));
    let map = &files["templates/configmap-nettoll-agent.yaml"];
    assert!(
        map.contains("  agent.toml: |\n{{ trimSuffix \"\\n\" .Values.agent | indent 4 }}\nkind")
    );
    let values = &files["values.yaml"];
    assert!(values.contains("\nimage: nettoll:0.1.0\n"));
    assert!(values.ends_with("\nagent: |\n  # One line.\n\n  listen = \"a\"\n"));
}

#[test]
fn what_is_not_always_there_has_a_condition_and_foreign_braces_are_text() {
    let files = files(DEFAULT, &format!("{DEFAULT}{RULE}")).unwrap();
    let namespace = &files["templates/namespace-nettoll.yaml"];
    assert!(namespace.contains("{{- if .Values.createNamespace }}\n"));
    let rule = &files["templates/prometheusrule-nettoll.yaml"];
    assert!(rule.contains("{{- if .Values.prometheusOperator }}\n"));
    assert!(rule.contains("summary: '{{ \"{{\" }} $labels.path }} is down'\n"));
}

#[test]
fn what_the_chart_cannot_say_is_refused() {
    let two = DEFAULT.replace(
        "        name: controller",
        "        name: a\n      - image: other",
    );
    let error = files(&two, &two).unwrap_err();
    assert!(format!("{error:#}").ends_with("both nettoll:0.1.0 and other"));
    let error = files(DEFAULT, RULE).unwrap_err();
    assert!(format!("{error:#}").contains("does not have all"));
}

#[test]
fn rules_become_an_object() {
    let rule = prometheus_rule("# Comment.\ngroups:\n- name: a\n\n  rules: []\n");
    assert!(rule.ends_with("\nspec:\n  groups:\n  - name: a\n\n    rules: []\n"));
}
