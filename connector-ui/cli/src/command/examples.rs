//! What `--help` shows below the options.

pub(super) const EXAMPLES: &str = "\
Examples:
  ztna login                     sign in with the browser
  ztna status                    where things stand
  ztna why wiki.corp.example     may I reach this, and if not, what can I do?
  ztna posture --refresh         check this device again
  ztna decisions --denied -f     watch what is refused

Exit codes: 0 done, 1 failed, 2 usage, 3 not signed in, 4 service not running,
5 denied by policy, 6 posture not met, 7 timed out, 8 insufficient rights,
9 locked by the administrator, 10 offline.";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  ztna doctor
  ztna doctor --json | jq -r '.examined[] | select(.condition == \"problem\") | .cure'

Exits with 0 if nothing keeps the connector from its work, 1 if something does.";

pub(super) const BUNDLE_EXAMPLES: &str = "\
Examples:
  ztna debug bundle
  ztna debug bundle --anonymize --output for-support.tar
  tar -tvf for-support.tar";

pub(super) const LOGIN_EXAMPLES: &str = "\
Examples:
  ztna login
  ztna login --no-browser        over SSH: open the printed address yourself
  ztna login --timeout 60
  ztna login --step-up payroll.corp.example   when `ztna why` asks for it";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  ztna status
  ztna status --watch
  ztna status --json | jq -r .standing
  ztna status --check ready && echo connected";

pub(super) const WHY_EXAMPLES: &str = "\
Examples:
  ztna why wiki.corp.example
  ztna why db.corp.example:5432
  ztna why '[2001:db8::7]:22'
  ztna why payroll.corp.example --as /usr/bin/firefox
  ztna why https://wiki.corp.example/page

Exits with 0 if permitted, 5 if the policy denies, 6 if this device's posture does
not meet it, 3 if nobody is signed in, 7 or 10 if the policy did not answer.";

pub(super) const DOWN_EXAMPLES: &str = "\
Examples:
  ztna down
  ztna down --for 30m --reason 'The hotel wants me to sign in'

Exits with 9 where the administrator has locked it; `ztna override` is then the way out.";

pub(super) const OVERRIDE_EXAMPLES: &str = "\
Examples:
  ztna override                                     read what it shows to the help desk
  ztna override redeem CODE --reason 'Hotel network'
  ztna override redeem - --reason 'Hotel network' < code.txt

A code is good for this device, once, for the time that the company has put into it, and works offline.
`ztna up` ends it early. Exits with 9 if the code is refused.";

pub(super) const REQUEST_EXAMPLES: &str = "\
Examples:
  ztna request payroll.corp.example --reason 'Pay day, instead of Carol'
  ztna request payroll.corp.example --reason 'Pay day' --for 2h
  ztna requests

Access opens by itself once somebody has approved it, and ends when its time is over.";

pub(super) const DELEGATE_EXAMPLES: &str = "\
Examples:
  ztna delegate /opt/agents/reader --to wiki --for 2h
  ztna delegate /opt/agents/reader --to wiki,tickets.corp.example --reason 'Weekly report'
  ztna delegate --revoke d-1f0c2a9b

The program's content is pinned: after an update you are asked again. Exits with 5 if the policy denies.";

pub(super) const ELEVATE_EXAMPLES: &str = "\
Examples:
  ztna elevate carol --reason 'Carol is ill, pay day' --evidence ticket:4711 --for 30m
  ztna elevate --revoke e-90be77d2

Ends by itself, with your session, and when this device no longer meets the policy. Exits with 5 if the policy denies.";

pub(super) const REPAIR_EXAMPLES: &str =
    "Examples:\n  sudo ztna repair --dry-run\n  sudo ztna repair";
pub(super) const POSTURE_EXAMPLES: &str = "\
Examples:
  ztna posture
  ztna posture --refresh
  ztna posture --json | jq -r '.checks[] | select(.finding != \"pass\") | .remedy'";

pub(super) const DECISIONS_EXAMPLES: &str = "\
Examples:
  ztna decisions
  ztna decisions --denied -n 100
  ztna decisions --follow --json | jq -r .target";

pub(super) const SHOW_EXAMPLES: &str = "\
Examples:
  ztna policy show
  ztna policy show candidate
  ztna policy show active wiki.cedar";

pub(super) const TEST_EXAMPLES: &str = "\
Examples:
  ztna policy test wiki.jsonl
  ztna policy test wiki.jsonl --commit candidate

Exits with 0 if every answer is the expected one, 1 if any is not.";

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  ztna policy replay
  ztna policy replay --commit candidate --since 7d --json";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  ztna audit verify
  sudo ztna audit verify --key 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo
  ztna audit export > log && ztna audit verify log --anchor checkpoint

Exits with 0 if all is as it was written, 1 if anything is not.";

pub(super) const COMPLETION_EXAMPLES: &str = "\
Examples:
  ztna completion bash > ~/.local/share/bash-completion/completions/ztna
  ztna completion zsh > ~/.zfunc/_ztna
  ztna completion fish > ~/.config/fish/completions/ztna.fish
  ztna completion powershell >> $PROFILE";
