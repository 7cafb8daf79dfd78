//! A configuration profile for macOS, in which every setting stands in a comment.

use super::{ENGLISH, KEYS, Key, Kind, escaped};

/// Returns the profile.
pub(super) fn profile() -> String {
    let settings: String = KEYS.iter().map(setting).collect();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Made by `cargo xtask managed`. Take the settings that you need out of their comments, and give the profile
     identifiers of your own. -->
<plist version="1.0">
<dict>
  <key>PayloadType</key><string>Configuration</string>
  <key>PayloadVersion</key><integer>1</integer>
  <key>PayloadIdentifier</key><string>ztna-connector.profile</string>
  <key>PayloadUUID</key><string>6E2B1B0C-54D2-4A3F-9A3E-0C1D6D1F6B01</string>
  <key>PayloadDisplayName</key><string>ZTNA Connector</string>
  <key>PayloadScope</key><string>System</string>
  <key>PayloadContent</key>
  <array>
    <dict>
      <key>PayloadType</key><string>ztna-connector</string>
      <key>PayloadVersion</key><integer>1</integer>
      <key>PayloadIdentifier</key><string>ztna-connector.settings</string>
      <key>PayloadUUID</key><string>6E2B1B0C-54D2-4A3F-9A3E-0C1D6D1F6B02</string>
      <key>PayloadDisplayName</key><string>ZTNA Connector</string>
{settings}    </dict>
  </array>
</dict>
</plist>
"#
    )
}

fn setting(key: &Key) -> String {
    let is_written = !key.default.starts_with('(');
    let default = key.default.trim_matches('"');
    let text = escaped(if is_written { default } else { "" });
    let value = match key.kind {
        Kind::Flag if default == "true" => "<true/>".to_owned(),
        Kind::Flag => "<false/>".to_owned(),
        Kind::List => "<array><string></string></array>".to_owned(),
        Kind::Number => "<integer>30</integer>".to_owned(),
        Kind::Text => format!("<string>{text}</string>"),
    };
    format!(
        "      <!-- {}\n      <key>{}</key>{value}\n      -->\n",
        ENGLISH.explain(key),
        key.name
    )
}
