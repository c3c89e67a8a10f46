/// What OpenSSH is told; no file of the machine or of the account adds to it (`-F`).
struct SSHConfiguration {
    var site: SSHSite
    /// Paths of letters, digits and `._/@+-`.
    var keyFile: String
    var certificateFile: String
    var knownHostsFile: String

    static let jump = "bastion"
    static let goal = "goal"
    /// Certificates alone, and only of what is current.
    private static let hostKeys = [
        "ssh-ed25519-cert-v01@openssh.com", "ecdsa-sha2-nistp256-cert-v01@openssh.com",
        "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp521-cert-v01@openssh.com",
        "rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com",
    ].joined(separator: ",")
    /// An unanswered connection counts as lost after three of these.
    static let aliveInterval = 10

    /// - Parameters:
    ///   - endpoint: the bastion itself, or a host behind it; known as `goal`.
    ///   - socket: of the master.
    func text(to endpoint: SSHSite.Endpoint, socket: String) -> String {
        var text = block(Self.goal, endpoint)
        text += endpoint == site.bastion ? "" : "    ProxyJump \(Self.jump)\n"
        text += "    ControlPath \(socket)\n"
        text += block(Self.jump, site.bastion) + "    ControlPath none\n"
        return text + common
    }

    /// The alias is the name that the host certificate must hold.
    private func block(_ name: String, _ endpoint: SSHSite.Endpoint) -> String {
        """
        Host \(name)
            HostName \(endpoint.address)
            HostKeyAlias \(endpoint.address)
            Port \(endpoint.port)
            User \(endpoint.user)

        """
    }

    private var common: String {
        """
        Host *
            BatchMode yes
            IdentitiesOnly yes
            IdentityAgent none
            IdentityFile \(keyFile)
            CertificateFile \(certificateFile)
            PreferredAuthentications publickey
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            HostbasedAuthentication no
            GSSAPIAuthentication no
            PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com,ssh-ed25519
            HostKeyAlgorithms \(Self.hostKeys)
            StrictHostKeyChecking yes
            UserKnownHostsFile \(knownHostsFile)
            GlobalKnownHostsFile /dev/null
            KnownHostsCommand none
            UpdateHostKeys no
            VerifyHostKeyDNS no
            CanonicalizeHostname no
            ControlMaster no
            ControlPersist no
            ConnectTimeout 10
            ConnectionAttempts 1
            ServerAliveInterval \(Self.aliveInterval)
            ServerAliveCountMax 3
            ExitOnForwardFailure yes
            StreamLocalBindMask 0177
            StreamLocalBindUnlink yes
            ForwardAgent no
            ForwardX11 no
            PermitLocalCommand no
            Tunnel no
            RequestTTY no
            LogLevel INFO

        """
    }
}
