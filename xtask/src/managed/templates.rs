//! Administrative templates for group policies: the policies, and their words in a language.

use std::fmt::Write;

use super::{KEYS, Key, Kind, Language, escaped};

/// Returns the policies.
pub(super) fn admx() -> String {
    let policies: String = KEYS.iter().map(policy).collect();
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<!-- Made by `cargo xtask managed`. -->
<policyDefinitions xmlns="http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions" revision="1.0" schemaVersion="1.0">
  <policyNamespaces>
    <target prefix="ztna" namespace="ZTNA.Policies.Connector" />
    <using prefix="windows" namespace="Microsoft.Policies.Windows" />
  </policyNamespaces>
  <resources minRequiredRevision="1.0" />
  <categories>
    <category name="Connector" displayName="$(string.Connector)" />
  </categories>
  <policies>
{policies}  </policies>
</policyDefinitions>
"#
    )
}

fn policy(key: &Key) -> String {
    let (id, name) = (id(key), key.name);
    let (presentation, content) = match key.kind {
        Kind::Flag => (
            String::new(),
            r#"      <enabledValue><decimal value="1" /></enabledValue>
      <disabledValue><decimal value="0" /></disabledValue>"#
                .to_owned(),
        ),
        Kind::List => elements(
            &id,
            &format!(r#"<multiText id="{id}" valueName="{name}" required="true" />"#),
        ),
        Kind::Number => elements(
            &id,
            &format!(
                r#"<decimal id="{id}" valueName="{name}" minValue="1" maxValue="43200" required="true" />"#
            ),
        ),
        Kind::Text => elements(
            &id,
            &format!(r#"<text id="{id}" valueName="{name}" required="true" />"#),
        ),
    };
    let value = match key.kind {
        Kind::Flag => format!(r#" valueName="{name}""#),
        Kind::List | Kind::Number | Kind::Text => String::new(),
    };
    format!(
        r#"    <policy name="{id}" class="Machine" displayName="$(string.{id})" explainText="$(string.{id}_help)"{presentation} key="Software\Policies\ZTNA\Connector"{value}>
      <parentCategory ref="Connector" />
      <supportedOn ref="windows:SUPPORTED_Windows_10_0" />
{content}
    </policy>
"#
    )
}

fn elements(id: &str, element: &str) -> (String, String) {
    (
        format!(r#" presentation="$(presentation.{id})""#),
        format!("      <elements>{element}</elements>"),
    )
}

/// Returns the words of a language for the policies.
pub(super) fn adml(language: &Language) -> String {
    let mut strings = String::new();
    let mut presentations = String::new();
    for key in KEYS {
        let (id, name) = (id(key), key.name);
        let help = escaped(&language.explain(key));
        // Writing into a text cannot fail.
        let _ = writeln!(strings, r#"      <string id="{id}">{name}</string>"#);
        let _ = writeln!(strings, r#"      <string id="{id}_help">{help}</string>"#);
        let control = match key.kind {
            Kind::Flag => continue,
            Kind::List => format!(r#"<multiTextBox refId="{id}">{name}</multiTextBox>"#),
            Kind::Number => format!(r#"<decimalTextBox refId="{id}">{name}</decimalTextBox>"#),
            Kind::Text => format!(
                r#"<textBox refId="{id}"><label>{}</label></textBox>"#,
                language.value
            ),
        };
        let _ = writeln!(
            presentations,
            r#"      <presentation id="{id}">{control}</presentation>"#
        );
    }
    let product = language.product;
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<!-- Made by `cargo xtask managed`. -->
<policyDefinitionResources xmlns="http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions" revision="1.0" schemaVersion="1.0">
  <displayName>{product}</displayName>
  <description>{product}</description>
  <resources>
    <stringTable>
      <string id="Connector">{product}</string>
{strings}    </stringTable>
    <presentationTable>
{presentations}    </presentationTable>
  </resources>
</policyDefinitionResources>
"#
    )
}

/// Names the policy; a dot is not allowed there.
fn id(key: &Key) -> String {
    key.name.replace('.', "_")
}
