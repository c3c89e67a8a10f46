/// The way into a site by SSH, as the fleet file gives it.
package struct SSHSite: Sendable, Hashable {
    /// One sshd.
    package struct Endpoint: Sendable, Hashable {
        /// In messages and logs: the host's name, or `bastion`.
        package var name: String
        package var address: String
        package var port: Int
        package var user: String

        package init(name: String, address: String, port: Int, user: String) {
            self.name = name
            self.address = address
            self.port = port
            self.user = user
        }

        package var place: HostPort { HostPort(host: address, port: port) }
    }

    package var name: SiteName
    package var bastion: Endpoint
    package var hosts: [Endpoint]
    /// Public keys of the authorities that certify the host keys of bastion and hosts, as `ssh-ed25519 AAAA…`.
    package var authorities: [String]
    /// Who the certificate must be for.
    package var principal: String
    /// Prints a certificate of the public key in the file that takes the place of `Site.Bastion.publicKey`.
    package var certificate: [String]

    package init(
        name: SiteName, bastion: Endpoint, hosts: [Endpoint], authorities: [String], principal: String,
        certificate: [String]
    ) {
        self.name = name
        self.bastion = bastion
        self.hosts = hosts
        self.authorities = authorities
        self.principal = principal
        self.certificate = certificate
    }

    /// - Returns: nil without a bastion: then drp reaches the site's machines without SSH.
    package init?(_ site: Site) {
        guard let bastion = site.bastion else { return nil }
        self.init(
            name: site.name,
            bastion: Endpoint(name: "bastion", address: bastion.address, port: bastion.port, user: bastion.user),
            hosts: site.hosts.map { host in
                Endpoint(name: host.name, address: host.address, port: host.port, user: host.user ?? bastion.user)
            }, authorities: bastion.authorities, principal: bastion.principal ?? bastion.user,
            certificate: bastion.certificate)
    }

    /// The host through which an address of the site is reached: the one that is named, else the one that has it, else the
    /// only one.
    package func host(named name: String?, for address: String? = nil) throws(SSHError) -> Endpoint {
        if let name {
            if let host = hosts.first(where: { $0.name == name }) { return host }
            throw SSHError(.settings("it has no host called \(Printable.line(name))"), self.name)
        }
        if let host = hosts.first(where: { $0.address == address }) { return host }
        guard hosts.count == 1, let host = hosts.first else {
            throw SSHError(
                .settings(
                    hosts.isEmpty
                        ? "it has a bastion and no hosts behind it"
                        : "it has several hosts, and nothing says on which of them \(address ?? "this") is"), self.name)
        }
        return host
    }
}

/// What can be reached from a host.
package enum SSHTarget: Sendable, Hashable, CustomStringConvertible {
    case tcp(HostPort)
    /// An absolute path of a socket there, of letters, digits and `._/@+-`.
    case unix(String)

    package var description: String {
        switch self {
        case .tcp(let place): "\(place)"
        case .unix(let path): path
        }
    }

    /// As ssh takes it after the local path of `-L`.
    /// - Returns: nil for a path that ssh could take for something else.
    var argument: String? {
        switch self {
        case .tcp(let place): NetworkText.isHost(place.host) ? "\(place)" : nil
        case .unix(let path): Self.isPlain(path) ? path : nil
        }
    }

    /// ssh expands `%`, `$` and splits at `:`.
    private static func isPlain(_ path: String) -> Bool {
        path.hasPrefix("/") && path.utf8.count < 108 && path.utf8.allSatisfy { SSHText.isPlain($0) }
    }
}

enum SSHText {
    /// Letters, digits and `._/@+-`: what no shell and no configuration of ssh takes for anything but itself.
    static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2b, 0x2d, 0x2e, 0x2f, 0x40, 0x5f: true
        default: false
        }
    }
}
