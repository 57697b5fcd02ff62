"""The words for what was asked for, and for the services that refused it."""

from collections.abc import Mapping
from typing import Final

from services.console.shapes.refusals import Refusal
from services.console.texts import Texts, marked

PLACES: Final[Mapping[str, str]] = {
    "identity": marked("Accounts and contracts"),
    "marketplace": marked("Orders and subscriptions"),
    "entitlements": marked("Seats and credits"),
    "distribution": marked("Updates"),
}
"""What each service is about."""
COMMANDS: Final[Mapping[str, str]] = {
    # Accounts and contracts
    "OpenAccount": marked("Open an account"),
    "UpdateProfile": marked("Change a profile"),
    "VerifyAddress": marked("Confirm an e-mail address"),
    "LinkIdentity": marked("Link another sign-in"),
    "UnlinkIdentity": marked("Unlink another sign-in"),
    "NamePeopleAdministrator": marked("Let somebody manage people"),
    "RemovePeopleAdministrator": marked("Take the right to manage people"),
    "SetNotificationPreferences": marked("Choose how to be notified"),
    "CloseAccount": marked("Close an account"),
    "RemovePerson": marked("Remove a person"),
    "IssueInvitation": marked("Invite somebody"),
    "RevokeInvitation": marked("Withdraw an invitation"),
    "RequestRole": marked("Ask for a role"),
    "ApproveRoleRequest": marked("Approve a request for a role"),
    "DeclineRoleRequest": marked("Decline a request for a role"),
    "NameCoordinator": marked("Name a Software Coordinator"),
    "RevokeRole": marked("Withdraw a role"),
    "HandOverContract": marked("Hand a contract over"),
    "MoveClock": marked("Move the clock"),
    "RegisterMachine": marked("Register a machine"),
    "RotateMachineSecret": marked("Give a machine a new secret"),
    "RevokeMachine": marked("Revoke a machine"),
    "EndSession": marked("End a session"),
    "EndSessions": marked("End all sessions"),
    # Orders and subscriptions
    "EngagePartner": marked("Engage a partner"),
    "ReleasePartner": marked("Release a partner"),
    "AddToCart": marked("Put a plan into the cart"),
    "RemoveFromCart": marked("Remove a line from the cart"),
    "CheckOut": marked("Order what is in the cart"),
    "OrderAgain": marked("Correct an order and send it again"),
    "Resubmit": marked("Correct an order and send it again"),
    "AbandonOrder": marked("Give an order up"),
    "ConfirmOrder": marked("Confirm an order"),
    "FailOrder": marked("Decline an order"),
    "DisableAutoRenew": marked("Turn auto-renew off"),
    "RequestRefund": marked("Ask for a refund"),
    "ChangeSeats": marked("Change the number of seats"),
    "RequestSeats": marked("Ask for more seats"),
    "ConfirmSeatsRequest": marked("Confirm a request for seats"),
    "DeclineSeatsRequest": marked("Decline a request for seats"),
    "ListPlan": marked("List a plan"),
    "AnnouncePrice": marked("Announce a price"),
    "WithdrawPlan": marked("Take a plan off sale"),
    "RecordCsn": marked("Issue a CSN"),
    "RevokeCsn": marked("Revoke a CSN"),
    # Seats and credits
    "AssignSeat": marked("Assign a seat"),
    "UnassignSeat": marked("Take a seat away"),
    "TransferSeat": marked("Move a seat"),
    "GrantCredits": marked("Grant credits"),
    "ConsumeCredits": marked("Spend credits"),
    # Updates
    "CreateGroup": marked("Create a group"),
    "PutUserInGroup": marked("Put somebody into a group"),
    "RemoveUserFromGroup": marked("Remove somebody from a group"),
    "SetGroupPolicy": marked("Set a group's policy"),
    "ApproveUpdate": marked("Approve an update"),
    "HoldUpdate": marked("Hold an update"),
    "ScheduleUpdate": marked("Schedule an update"),
    "PauseRollout": marked("Pause a rollout"),
    "ResumeRollout": marked("Resume a rollout"),
    "StopRollout": marked("Stop a rollout"),
    "MoveOn": marked("End a rollout's phase"),
    "RetryFailed": marked("Let failed machines try again"),
    "ExcludeTarget": marked("Exclude somebody from a rollout"),
    "ReportInstall": marked("Report an installation"),
    "ListUpdate": marked("Publish an update"),
    "WithdrawUpdate": marked("Withdraw an update"),
}
"""What was asked for, by the command's name."""
SOMETHING: Final = marked("Something that is not known any more")


def asked_for(refusal: Refusal, texts: Texts) -> str:
    """Return what was asked for, in words."""
    if refusal.command is None:
        return texts.gettext(SOMETHING)
    return texts.gettext(COMMANDS[refusal.command]) if refusal.command in COMMANDS else refusal.command
