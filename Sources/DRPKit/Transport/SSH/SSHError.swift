/// Something could not be reached, or done, by SSH.
package struct SSHError: DRPError, Equatable {
    package enum Side: Sendable, Hashable { case bastion, host }

    package enum Reason: Sendable, Hashable {
        /// No folder in memory of this account's own.
        case noPrivateMemory(String)
        case noProgram(String)
        /// Nothing of its output is kept.
        case certificateCommandFailed(String)
        case certificateUnusable(String)
        case certificateExpired(String)
        case certificateNotYetValid(String)
        case otherPrincipal(wanted: String, given: [String])
        case unreachable(Side, String)
        /// The host key is not certified by the site's authority for this address.
        case untrusted(Side, String)
        /// The server does not take the certificate.
        case denied(Side)
        /// The bastion does not forward to the host.
        case jumpRefused
        /// The host does not forward.
        case forwardRefused(String)
        /// The host forwards, but nothing answers there.
        case serviceUnreachable(String, String)
        /// The connection ended while it was in use.
        case lost(String)
        /// The end of a command's output is missing, so that neither output nor status can be believed.
        case cut(String)
        case late(Duration)
        case tooLarge(limit: Int)
        case badCommand(String)
        case badTarget(String)
        case settings(String)
        case noAudit(String)
        case closed
    }

    package var reason: Reason
    /// Site and host, as `site par-dc3, host h1`.
    package var subject: String

    init(_ reason: Reason, _ site: SiteName, _ endpoint: SSHSite.Endpoint? = nil) {
        self.reason = reason
        subject = "site \(site)"
        if let endpoint {
            subject += endpoint.name == "bastion" ? ", bastion" : ", host \(endpoint.name)"
            subject += " (\(endpoint.place))"
        }
    }

    package var code: ErrorCode {
        switch reason {
        case .certificateCommandFailed, .certificateUnusable, .certificateExpired, .certificateNotYetValid,
            .otherPrincipal:
            .certificateUnusable
        case .unreachable, .serviceUnreachable, .lost, .cut: .siteUnreachable
        case .untrusted: .siteUntrusted
        case .denied, .jumpRefused, .forwardRefused: .siteDenied
        case .late: .deadlineExceeded
        case .settings, .badTarget: .fleetInvalid
        case .noPrivateMemory, .noProgram, .tooLarge, .badCommand, .noAudit, .closed: .failed
        }
    }

    package var message: String { "\(subject): \(text)" }

    private var text: String {
        switch reason {
        case .noPrivateMemory(let cause): "there is no memory-backed folder for the key: \(cause)"
        case .noProgram(let name): "\(name) was not found or is not executable"
        case .certificateCommandFailed(let cause): "the certificate command \(cause)"
        case .certificateUnusable(let cause): "the certificate command gave no usable certificate: \(cause)"
        case .certificateExpired(let time): "the certificate ended at \(time)"
        case .certificateNotYetValid(let time): "the certificate is valid from \(time) on, which is to come"
        case .otherPrincipal(let wanted, let given):
            "the certificate is not for the principal \(wanted), but for "
                + (given.isEmpty ? "nobody" : given.prefix(5).joined(separator: ", "))
        case .unreachable(let side, let cause): "the \(side) cannot be reached: \(cause)"
        case .untrusted(let side, let cause): "the \(side) is not who it should be: \(cause)"
        case .denied(let side): "the \(side) does not accept the certificate"
        case .jumpRefused: "the bastion does not forward to this host"
        case .forwardRefused(let target): "the host does not forward to \(target)"
        case .serviceUnreachable(let target, let cause): "nothing answers at \(target) there: \(cause)"
        case .lost(let cause): "the connection was lost: \(cause)"
        case .cut(let program): "the end of what \(program) wrote did not arrive, so it does not count as done"
        case .late(let time): "no end within \(DurationText.format(time))"
        case .tooLarge(let limit): "the command wrote more than \(limit) bytes"
        case .badCommand(let cause): "the command cannot be sent: \(cause)"
        case .badTarget(let target): "'\(target)' is neither host and port nor the plain path of a socket"
        case .settings(let cause): cause
        case .noAudit(let cause): "what is done cannot be written down, so it is not done: \(cause)"
        case .closed: "the connections were closed already"
        }
    }

    package var advice: String {
        switch reason {
        case .noPrivateMemory:
            "Run drp where /dev/shm or $XDG_RUNTIME_DIR is a tmpfs of its own account; keys never go to a disk."
        case .noProgram: "Install OpenSSH's client (Debian: openssh-client)."
        case .certificateCommandFailed:
            "Run the `certificate` command of the site by hand, as the account of drp, with a public key's file."
        case .certificateUnusable: "The command must print one user certificate of the key it is given, for forwarding."
        case .certificateExpired, .certificateNotYetValid:
            "Set the clocks of this machine and of the certificate authority right."
        case .otherPrincipal: "Change `principal` of the bastion in the fleet file, or the role at the authority."
        case .unreachable(.bastion, _): "Check the bastion's address and port, and the network between here and there."
        case .unreachable(.host, _): "Check that the host runs and that its address in the fleet file is right."
        case .untrusted:
            "Do not go on before you know why. If its key was renewed, have it certified for this address by `host-ca`."
        case .denied: "See its sshd's log: authority, principals, revocation and clock decide there."
        case .jumpRefused: "Allow the host's address and port at the bastion (PermitOpen, AllowTcpForwarding)."
        case .forwardRefused:
            "Allow it at the host's sshd: AllowTcpForwarding, AllowStreamLocalForwarding, PermitOpen."
        case .serviceUnreachable: "Check that the service runs there and that its address in the uri is right."
        case .lost, .cut: "Run it again: the connection is made anew."
        case .late, .tooLarge: "Run the command at the host by hand to see what it does."
        case .badCommand: "Give a program's name or path and shorter arguments."
        case .badTarget: "Correct the address."
        case .settings: "Correct the site in the fleet file; `drp config check` reads it."
        case .noAudit: "Check the folder `audit` in the state folder, its owner and the space on its disk."
        case .closed: "Run the command again."
        }
    }
}
