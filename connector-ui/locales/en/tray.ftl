# What the tray says. Plain words: people who read this need not know what a tunnel is.

state-blocked-by-device = Blocked: this device does not meet the rules
state-blocked-by-network = Blocked: your company's network does not answer
state-connected = Connected
state-connecting = Connecting…
state-in-use = Somebody else is signed in on this computer
state-not-running = The connector is not running
state-offline = Connected, but your company's server cannot be reached
state-paused = Switched off
state-restricted = Connected, with restrictions
state-signed-out = Signed out
state-signing-in = Waiting for you to sign in
state-starting = Starting…
state-warning = Connected, with a warning

advice-in-use = Ask them to sign out, then sign in yourself.
advice-network = It is tried again all the time. Check your network.
advice-not-running = Protected applications cannot be reached. Ask your support if it stays like this.
advice-signing-in = Go on in your browser.
offline = What was agreed last still holds.
offline-left = What was agreed last holds for another { $left }.
paused-for-good = Protected applications cannot be reached until you switch it on.
paused-until = It switches itself on at { $time }.
trouble-behind = “{ $site }” cannot be reached: its gateway answers, but nothing behind it does.
trouble-interception = Programs on this device cannot be connected: { $problem }
trouble-offline = Your company's server cannot be reached. { $holds }
trouble-records = Decisions cannot be recorded or delivered: { $problem }
trouble-site = “{ $site }” does not answer.

minutes =
    { $count ->
        [one] one minute
       *[other] { $count } minutes
    }
hours = { $count } hours
days = { $count } days

signed-in-as = Signed in as { $name }
session-left = Ends in { $left }
extend = Sign in again to extend it
sign-in = Sign in…
sign-in-again = Open the sign-in page again
sign-out = Sign out

open-window = Open the window…
connect = Switch on
pause = Switch off
pause-quarter = For 15 minutes
pause-hour = For one hour
pause-tomorrow = Until tomorrow morning
pause-on-demand = Until I switch it on
pause-longest = For { $length }
pause-limit = At most { $length }: managed by { $name }
pause-locked = Switch off (locked)
pause-needs-reason = Switching off needs a reason. It is written down for whoever manages this device.
pause-give-reason = Give a reason…
pause-needs-code = It stays on. If you have to switch it off, the help desk can give you a code for a time.
pause-enter-code = Ask for a code…
managed-by = Managed by { $name }

resources = Applications
resources-none = There are none for you
resource-denied = { $title } – refused
resource-permitted = { $title } – open to you
resource-undecided = { $title }
show-resource = Copy its address, and more…
ask-resource = Ask for access, with a reason…
site-answers = { $site } – reached
site-silent = { $site } – does not answer
site-unknown = { $site }
open = Open in the browser
more =
    { $count ->
        [one] One more: { $command }
       *[other] { $count } more: { $command }
    }

device = This device: all in order
device-with =
    { $count ->
        [one] This device: one thing to mend
       *[other] This device: { $count } things to mend
    }
device-unmet =
    { $count ->
        [one] One check of this device does not pass.
       *[other] { $count } checks of this device do not pass.
    }
device-fine = Every check passes
check-fails = ✗ { $title }
check-passes = ✓ { $title }
check-unknown = ? { $title }
check-again = Check again
mend = What to do: { $remedy }

refused = Recently refused
refused-ended = { $target } – ended
refused-program = Asked for by { $program }
more-refused = More: ztna decisions --denied
request-hour = Ask { $approver } for one hour
request-day = Ask { $approver } for eight hours
request-reason = Asked for in the menu, where no reason can be given
request-approved = { $title }: granted for another { $left }
request-denied = { $title }: your request was turned down
request-pending = { $title }: you asked, nobody has answered yet

help = Help
help-guide = Documentation…
help-check = Run checks…
help-bundle = Create a file for your support…
help-commands = In a terminal: ztna status, ztna why
help-commands-alone = In a terminal: ztna doctor, ztna service status
support = Support: { $address }
version = Version { $version }
quit = Remove this icon (the connector goes on)

notice-browser-title = Your browser cannot be opened
notice-browser-body = Open this page yourself: { $page }
notice-window-title = The window is not installed
notice-window-body = In a terminal, “ztna status”, “ztna resources” and “ztna doctor” show the same.
notice-failed-title = That did not work
notice-refused-title = “{ $target }” was refused
notice-gateway-title = “{ $site }” does not answer any more
notice-gateway-body = What you were using there is interrupted. It is tried again all the time.
notice-posture-lost-title = This device needs your attention
notice-posture-lost-body = { $title }. What to do: { $remedy }
notice-posture-lost-plain = Some applications may be refused.
notice-posture-regained-title = This device is in order again
notice-posture-regained-body = Every check passes.
notice-requested-title = You asked for access
notice-requested-body = You will be told when somebody has answered.
notice-answered-title = Your request was answered
notice-session-soon-title = Your session ends in { $left }
notice-session-soon-body = Sign in again to go on without a break.
notice-session-ended-title = You are signed out
notice-session-ended-body = Your session is over. Sign in to reach protected applications.
notice-settings-title = Your company changed the connector's settings
notice-settings-body = They apply from now on; there is nothing to do.
notice-managed-title = Settings changed
notice-managed-body = { $name } has changed the settings of the connector on this device.
