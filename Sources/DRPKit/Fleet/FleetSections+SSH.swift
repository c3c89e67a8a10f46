internal import Foundation

/// The way into a site: its bastion and hosts.
extension FleetSections {
    func bastion(_ node: YAMLNode, in outer: FieldReader) -> Site.Bastion? {
        guard var fields = FieldReader(node, "a bastion", outer.source, notes) else { return nil }
        let place = endpoint(fields.required("address"), in: fields)
        let user = account(fields.optional("user"), in: fields) ?? Site.Bastion.defaultUser
        let principal = fields.text(fields.optional("principal"), "a principal")
        let listNode = fields.required("host-ca")
        let authorities = fields.list(listNode, "host-ca")?.compactMap { node in
            fields.value(node, "a public key, as ssh-ed25519 AAAA…", SSHText.publicKey)
        }
        if let listNode, listNode.sequence?.isEmpty == true {
            notes.add(fields.place(of: listNode), "host-ca must name at least one public key")
        }
        let certificate = fields.required("certificate").flatMap { self.certificate($0, in: fields) }
        fields.finish()
        guard let place, let authorities, let certificate else { return nil }
        return Site.Bastion(
            address: place.host, port: place.port, user: user, authorities: authorities, principal: principal,
            certificate: certificate)
    }

    /// `{command: […]}`: what it prints is no secret, so nothing else can stand here.
    private func certificate(_ node: YAMLNode, in outer: FieldReader) -> [String]? {
        guard var fields = FieldReader(node, "a certificate", outer.source, notes) else { return nil }
        let commandNode = fields.required("command")
        let command = fields.command(commandNode)
        fields.finish()
        guard let commandNode, let command else { return nil }
        guard command.dropFirst().contains(where: { $0.contains(Site.Bastion.publicKey) }) else {
            notes.add(
                fields.place(of: commandNode), "the certificate command does not say where the public key comes in",
                advice: "write \"\(Site.Bastion.publicKey)\" as one of its arguments")
            return nil
        }
        return command
    }

    func hosts(_ nodes: [YAMLNode], in outer: FieldReader) -> [Site.Host] {
        var names: Set<String> = []
        return nodes.compactMap { node in
            guard let host = host(node, in: outer) else { return nil }
            if !names.insert(host.name).inserted {
                notes.add(outer.place(of: node), "the host '\(host.name)' exists twice at this site")
            }
            return host
        }
    }

    private func host(_ node: YAMLNode, in outer: FieldReader) -> Site.Host? {
        guard var fields = FieldReader(node, "a host", outer.source, notes) else { return nil }
        defer { fields.finish() }
        let name = fields.value(fields.required("name"), "a host other than 'bastion'") {
            NetworkText.isDomain($0) && $0 != "bastion" ? $0 : nil
        }
        let place = endpoint(fields.required("address"), in: fields)
        let user = account(fields.optional("user"), in: fields)
        let (memory, disk) = (fields.size(fields.optional("memory")), fields.size(fields.optional("disk")))
        guard let name, let place else { return nil }
        return Site.Host(
            name: name, address: place.host, port: place.port, user: user, memory: memory, disk: disk)
    }

    private func endpoint(_ node: YAMLNode?, in fields: FieldReader) -> HostPort? {
        fields.value(node, "a host, or host:port") { HostPort($0, defaultPort: Site.Bastion.defaultPort) }
    }

    private func account(_ node: YAMLNode?, in fields: FieldReader) -> String? {
        fields.value(node, "the name of an account") { NetworkText.isAccount($0) ? $0 : nil }
    }
}

extension SSHText {
    private static let keyTypes = [
        "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
    ]

    /// Type and Base64 of a public key, without the comment behind it.
    /// - Returns: nil unless the Base64 says the same type (RFC 4253, 6.6).
    static func publicKey(_ text: String) -> String? {
        let words = text.split(separator: " ")
        guard words.count >= 2, keyTypes.contains(String(words[0])), let blob = Data(base64Encoded: String(words[1]))
        else { return nil }
        var wire = SSHWire(Array(blob))
        return wire.text() == String(words[0]) && !wire.isAtEnd ? "\(words[0]) \(words[1])" : nil
    }
}
