/// All codes of errors: one table with exit status, meaning and the next thing to do.
///
/// Exit statuses: 1 failed, 2 wrong use, 3 in part, 10-13 repository, 20-21 source, 30-32 target,
/// 40-41 run waits, 75 try again later.
package enum ErrorCode: String, CaseIterable, Sendable, Codable {
    case failed = "E1000"
    case usage = "E2000"
    case fleetInvalid = "E2001"
    case fleetMissing = "E2002"
    case secretUnavailable = "E2003"
    case runbookInvalid = "E2004"
    case identityInvalid = "E2005"
    case confirmationMissing = "E2006"
    case partial = "E3000"
    case repositoryMissing = "E1001"
    case repositoryDenied = "E1002"
    case repositoryDamaged = "E1101"
    case repositoryForeign = "E1102"
    case repositoryLeased = "E1201"
    case storeUnreachable = "E1301"
    case storeFull = "E1302"
    case storeUnsupported = "E1303"
    case held = "E1401"
    case clocksDiffer = "E1402"
    case clientErased = "E1403"
    case alarmed = "E1404"
    case sourceUnreachable = "E2101"
    case sourceDenied = "E2102"
    case sourceChanged = "E2201"
    case sourceUnsupported = "E2202"
    case targetUnreachable = "E3001"
    case targetDenied = "E3002"
    case targetNotEmpty = "E3101"
    case targetDiffers = "E3201"
    case stepFailed = "E4001"
    case waitsForApproval = "E4101"
    case journalUnusable = "E5001"
    case evidenceBroken = "E5101"
    case siteUnreachable = "E6001"
    case siteUntrusted = "E6002"
    case siteDenied = "E6003"
    case certificateUnusable = "E6004"
    case deadlineExceeded = "E7501"
    case busy = "E7502"

    /// The exit status of a command that ends with this error.
    package var exitStatus: Int32 {
        switch self {
        case .failed, .held, .clocksDiffer, .clientErased, .alarmed, .journalUnusable, .evidenceBroken,
            .siteUnreachable, .siteUntrusted, .siteDenied, .certificateUnusable, .deadlineExceeded:
            1
        case .usage, .fleetInvalid, .fleetMissing, .secretUnavailable, .runbookInvalid, .identityInvalid,
            .confirmationMissing:
            2
        case .partial: 3
        case .repositoryMissing, .repositoryDenied: 10
        case .repositoryDamaged, .repositoryForeign: 11
        case .repositoryLeased: 12
        case .storeUnreachable, .storeFull, .storeUnsupported: 13
        case .sourceUnreachable, .sourceDenied: 20
        case .sourceChanged, .sourceUnsupported: 21
        case .targetUnreachable, .targetDenied: 30
        case .targetNotEmpty: 31
        case .targetDiffers: 32
        case .stepFailed: 40
        case .waitsForApproval: 41
        case .busy: 75
        }
    }

    /// What to do next when the error itself knows nothing better.
    package var advice: String {
        switch self {
        case .failed: "Read the message above; run the command again with --verbose for more."
        case .usage: "Run the command with --help."
        case .fleetInvalid: "Correct the fleet file, then run `drp config check`."
        case .fleetMissing: "Name the fleet file with --fleet FILE, or put it at ./fleet.yaml."
        case .secretUnavailable: "Check that the file, variable or command of this secret exists and can be read."
        case .runbookInvalid: "Correct the runbook at the line named."
        case .identityInvalid: "Name a recovery identity made by `drp keys init --identity FILE`."
        case .confirmationMissing: "Give the client's name with --confirm NAME."
        case .partial: "Mend what is named above, then run the command again; what succeeded is kept."
        case .repositoryMissing: "Run `drp keys init CLIENT` first, or check the store's settings."
        case .repositoryDenied: "Check the permissions of the store for the account that runs drp."
        case .repositoryDamaged: "Run `drp backup verify` and restore from an older backup or another store."
        case .repositoryForeign: "Check that the store's folder belongs to this client; nothing was changed."
        case .repositoryLeased: "Wait until the other process ends; `drp check` shows who holds the lease."
        case .storeUnreachable: "Check the store's address and that its disk is mounted, then run the command again."
        case .storeFull: "Free space in the store, then run the command again; older backups are whole."
        case .storeUnsupported: "Use a store that can do it; `drp store check` shows what each one can."
        case .held: "See `drp hold show`; nothing is deleted before `drp hold release CLIENT`."
        case .clocksDiffer: "Set the clocks of this machine and of the store right, then run the command again."
        case .clientErased:
            "Take it out of the fleet file; a client of that name that begins anew needs another id in it."
        case .alarmed:
            "Look into what it says; then `drp alarm end NUMBER --reason TEXT`, if it does not end by itself."
        case .sourceUnreachable: "Check that the server runs and that its address in the fleet file is right."
        case .sourceDenied: "Check user and password in the service's uri and the user's roles."
        case .sourceChanged: "Run the backup again when the schema is quiet."
        case .sourceUnsupported: "Run `drp check CLIENT` for what this server lacks."
        case .targetUnreachable: "Check that the target server runs, then run the command again."
        case .targetDenied: "Check user and password of the target and the user's roles."
        case .targetNotEmpty: "Choose an empty target, or give --replace and the client's name with --confirm."
        case .targetDiffers: "Do not switch traffic to this target; restore again, or choose an older backup."
        case .stepFailed: "Mend the cause, then run `drp runs resume RUN`."
        case .waitsForApproval: "Run `drp runs approve RUN`."
        case .journalUnusable: "Check the state folder's disk and permissions."
        case .evidenceBroken:
            "Keep a copy of the journal, find out who wrote to it, and compare it with its older copies."
        case .siteUnreachable: "Check the site's bastion and hosts with `drp check`, then run the command again."
        case .siteUntrusted: "Do not go on before you know why the host key is not the one that was certified."
        case .siteDenied: "Look into the log of the sshd that refused."
        case .certificateUnusable: "Run the site's certificate command by hand and look at what it prints."
        case .deadlineExceeded: "Check that the other side answers, then run the command again."
        case .busy: "Try again later."
        }
    }
}
