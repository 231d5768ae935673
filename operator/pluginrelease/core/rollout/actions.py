"""What a pass can do next. Each action names its entries; most actions are done once for an entry in a pass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """One thing to do. ``names``: the entries of ``spec.gateways`` that it is for."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class SwitchOff(Action):
    """Delete the objects of these entries, because a user switched the release off."""


@dataclass(frozen=True)
class Suspend(Action):
    """Restore log levels. Plugins that run keep running, and are not checked."""


@dataclass(frozen=True)
class RollBack(Action):
    """Write for each entry what it ran before the failure: its stable revision, the adopted object, or nothing."""


@dataclass(frozen=True)
class FollowTag(Action):
    """Ask the registry what the reference names now.

    It uses the pull secret of the first of these entries that has consent.
    """


@dataclass(frozen=True)
class FollowConfig(Action):
    """Read the values that ``configFrom`` names. Other values begin another rollout."""


@dataclass(frozen=True)
class ObserveFallback(Action):
    """Check the gateways after a rollback, and repair those that refuse what was written."""


@dataclass(frozen=True)
class EndHung(Action):
    """Restart gateways that still hang because of a plugin that was removed."""


@dataclass(frozen=True)
class Glance(Action):
    """Read only the status of the pods: a crash because of the write ends the rollout before other steps."""


@dataclass(frozen=True)
class FindRemoved(Action):
    """Find the objects of entries that were removed from the spec."""


@dataclass(frozen=True)
class Remove(Action):
    """Delete the objects of removed entries, or release them."""


@dataclass(frozen=True)
class CorrectDrift(Action):
    """Restore what runs.

    That is the stable revision while another one is refused or awaited, or one that failed only elsewhere.
    """


@dataclass(frozen=True)
class AskConsent(Action):
    """Check that the gateways' namespaces admit the release's; first, that the spec can be read."""


@dataclass(frozen=True)
class ReadCarriers(Action):
    """Read the objects that carry the plugin, and the stored revision that a user asked for."""


@dataclass(frozen=True)
class Accept(Action):
    """Take what is already written as what is wanted: fetch, check and write nothing."""


@dataclass(frozen=True)
class RollOut(Action):
    """Check the revision, store it, record what later checks need, and write it."""


@dataclass(frozen=True)
class ReturnToStable(Action):
    """Write the stable revision instead of one that crashes and is no longer wanted, before all other steps."""


@dataclass(frozen=True)
class RemoveSuperseded(Action):
    """Remove a first revision that gateways cannot run, if its successor was refused."""


@dataclass(frozen=True)
class KeepSecrets(Action):
    """Copy a rotated pull secret to the gateways."""


@dataclass(frozen=True)
class FindWritten(Action):
    """Find what is written for entries that cannot continue. It still fails if the gateways cannot run it."""


@dataclass(frozen=True)
class Observe(Action):
    """Check every pod of these entries, and decide what that means for the rollout.

    Entries in ``watched`` cannot continue now. They can make the rollout fail, and do not count otherwise.
    """

    watched: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decide(Action):
    """End the rollout if something crashed, by the status of the pods alone."""


@dataclass(frozen=True)
class FetchAgain(Action):
    """Make the control plane send the plugin again to gateways that could not fetch it."""


@dataclass(frozen=True)
class RestoreLoggers(Action):
    """Restore the log levels of entries whose part of the pass ended before the gateways were checked."""


@dataclass(frozen=True)
class Wait(Action):
    """Do nothing more: the pass ends."""
