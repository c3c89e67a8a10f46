extension FleetSections {
    func clients(_ section: Section) -> [Client] {
        let (fields, node) = section
        return (fields.list(node, "clients") ?? []).compactMap { client($0, in: fields) }
    }

    private func client(_ node: YAMLNode, in outer: FieldReader) -> Client? {
        guard var fields = FieldReader(node, "a client", outer.source, notes) else { return nil }
        let idNode = fields.required("id")
        let id: ClientID? = fields.name(idNode)
        if let id, let idNode {
            let place = fields.place(of: idNode)
            if let first = notes.places["client \(id)"] {
                notes.add(
                    place, "the client '\(id)' exists twice", advice: "the first is at \(first.file):\(first.line)")
            } else {
                notes.mark("client \(id)", at: place)
            }
        }
        let environment: EnvironmentName? = fields.reference(fields.required("environment"), to: .environment)
        let site: SiteName? = fields.reference(fields.required("site"), to: .site)
        let host = fields.value(fields.optional("host"), "a host") { NetworkText.isDomain($0) ? $0 : nil }
        let priority = fields.integer(fields.optional("priority"), 0...1_000_000) ?? Self.defaultPriority
        let policy: PolicyName? = fields.reference(fields.optional("policy"), to: .policy)
        let objectives = fields.optional("objectives").flatMap { self.objectives($0, in: fields) } ?? Objectives()
        let needs = fields.optional("needs").flatMap { self.needs($0, in: fields) }
        let services = fields.required("services").flatMap { self.services($0, in: fields) }
        let domains = (fields.list(fields.optional("domains"), "domains") ?? []).compactMap { domain($0, in: fields) }
        let contacts = (fields.list(fields.optional("contacts"), "contacts") ?? []).compactMap { node in
            fields.value(node, "a mail address") { isMailAddress($0) ? $0 : nil }
        }
        let hours = fields.optional("hours").flatMap { self.hours($0, in: fields) }
        let certificate = fields.optional("certificate").flatMap { self.certificate($0, in: fields) }
        fields.finish()
        guard let id, let environment, let site, let services else { return nil }
        return Client(
            id: id, environment: environment, site: site, host: host, priority: priority, policy: policy,
            objectives: objectives,
            needs: needs, services: services, domains: domains, contacts: contacts, hours: hours,
            certificate: certificate)
    }

    private func certificate(_ node: YAMLNode, in outer: FieldReader) -> Client.Certificate? {
        guard var fields = FieldReader(node, "a certificate", outer.source, notes) else { return nil }
        defer { fields.finish() }
        let chain = fields.path(fields.required("chain"))
        let key = fields.secret(fields.required("key"))
        let ca = fields.path(fields.optional("ca"))
        guard let chain, let key else { return nil }
        return Client.Certificate(chain: chain, key: key, ca: ca)
    }

    private func domain(_ node: YAMLNode, in fields: FieldReader) -> String? {
        let domain = fields.value(node, "a domain in lower case, as acme.example.com") {
            NetworkText.isDomain($0) && $0.contains(".") ? $0 : nil
        }
        guard let domain else { return nil }
        let place = fields.place(of: node)
        if let first = notes.places["domain \(domain)"] {
            notes.add(
                place, "the domain '\(domain)' exists twice", advice: "the first is at \(first.file):\(first.line)")
        } else {
            notes.mark("domain \(domain)", at: place)
        }
        return domain
    }

    private func isMailAddress(_ text: String) -> Bool {
        let halves = text.split(separator: "@", omittingEmptySubsequences: false)
        return halves.count == 2 && !halves[0].isEmpty && !text.contains(" ")
            && NetworkText.isDomain(halves[1].lowercased())
    }

    private func needs(_ node: YAMLNode, in outer: FieldReader) -> Client.Needs? {
        guard var fields = FieldReader(node, "needs", outer.source, notes) else { return nil }
        defer { fields.finish() }
        return Client.Needs(memory: fields.size(fields.optional("memory")), disk: fields.size(fields.optional("disk")))
    }

    private func hours(_ node: YAMLNode, in outer: FieldReader) -> BusinessHours? {
        guard var fields = FieldReader(node, "hours", outer.source, notes) else { return nil }
        defer { fields.finish() }
        let zone = fields.value(fields.required("zone"), "a time zone, as Europe/Paris") { text in
            // The message above says what would be right; so in the next.
            try? Schedule.zone(Substring(text))
        }
        let node = fields.required("business")
        guard let zone else { return nil }
        return fields.value(node, "hours, as Mon-Fri 08:00-19:00") { text in try? BusinessHours(text, zone: zone) }
    }

    /// The parts of a client's stack; also read alone, from the file of `--target`.
    func services(_ node: YAMLNode, in outer: FieldReader) -> Services? {
        guard var fields = FieldReader(node, "services", outer.source, notes) else { return nil }
        let (api, mongo, redis) = (fields.optional("api"), fields.optional("mongo"), fields.optional("redis"))
        fields.finish()
        return Services(
            api: api.flatMap { self.api($0, in: fields) }, mongo: mongo.flatMap { self.mongo($0, in: fields) },
            redis: redis.flatMap { self.redis($0, in: fields) })
    }

    private func api(_ node: YAMLNode, in outer: FieldReader) -> Services.API? {
        guard var fields = FieldReader(node, "api", outer.source, notes) else { return nil }
        let image = fields.optional("image")
        let command = fields.optional("command")
        let port = fields.value(fields.required("port"), "a port from 1 to 65535") { NetworkText.port($0) }
        var secrets: [String: SecretSource] = [:]
        if let node = fields.optional("secrets") {
            for entry in node.mapping ?? [] {
                guard ClientID(entry.key) != nil else {
                    notes.add(
                        Place(file: fields.source.name, line: entry.line, column: entry.column),
                        "'\(Printable.short(entry.key))' is not a name: 1 to 63 of a-z, 0-9 and inner hyphens")
                    continue
                }
                secrets[entry.key] = fields.secret(entry.value)
            }
            if node.mapping == nil {
                notes.add(fields.place(of: node), "secrets must be a mapping, not \(node.kindInWords)")
            }
        }
        fields.finish()
        guard (image == nil) != (command == nil) else {
            notes.add(fields.place, "the api needs either image or command")
            return nil
        }
        let launch: Services.API.Launch? =
            if image != nil {
                self.image(image, in: fields).map { .image($0) }
            } else {
                fields.command(command).map { .command($0) }
            }
        guard let launch, let port else { return nil }
        return Services.API(launch: launch, port: port, secrets: secrets)
    }

    private func mongo(_ node: YAMLNode, in outer: FieldReader) -> Services.Mongo? {
        guard var fields = FieldReader(node, "mongo", outer.source, notes) else { return nil }
        let (uri, ca) = (fields.secret(fields.required("uri")), fields.path(fields.optional("ca")))
        fields.finish()
        return uri.map { Services.Mongo(uri: $0, ca: ca) }
    }

    private func redis(_ node: YAMLNode, in outer: FieldReader) -> Services.Redis? {
        guard var fields = FieldReader(node, "redis", outer.source, notes) else { return nil }
        let (uri, ca) = (fields.secret(fields.required("uri")), fields.path(fields.optional("ca")))
        let role = fields.choice(fields.optional("role"), Services.Redis.Role.self)
        fields.finish()
        return uri.map { Services.Redis(uri: $0, ca: ca, role: role ?? .store) }
    }

    func traffic(_ section: Section) -> TrafficSettings? {
        let (outer, node) = section
        guard var fields = FieldReader(node, "traffic", outer.source, notes) else { return nil }
        let siteNode = fields.required("site")
        let site: SiteName? = fields.reference(siteNode, to: .site)
        if let siteNode { notes.mark("traffic site", at: fields.place(of: siteNode)) }
        let ttlNode = fields.optional("ttl")
        let ttl = fields.duration(ttlNode) ?? .seconds(30)
        if let ttlNode, ttl > .seconds(60) {
            notes.add(
                fields.place(of: ttlNode), "a ttl above 60s delays every switch by as much", advice: "write 30s",
                severity: .warning)
        }
        let dnsNode = fields.required("dns")
        let resolvers = servers(fields.optional("resolvers"), "resolvers", in: fields)
        fields.finish()
        guard let dnsNode, var dns = FieldReader(dnsNode, "dns", outer.source, notes) else { return nil }
        let kind = dnsKind(&dns)
        dns.finish()
        guard let site, let kind else { return nil }
        return TrafficSettings(site: site, ttl: ttl, dns: kind, resolvers: resolvers ?? [])
    }

    private func dnsKind(_ dns: inout FieldReader) -> TrafficSettings.DNS? {
        let (rfc2136, powerdns) = (dns.optional("rfc2136"), dns.optional("powerdns"))
        let route53 = dns.optional("route53")
        guard [rfc2136, powerdns, route53].count(where: { $0 != nil }) == 1 else {
            notes.add(dns.place, "dns needs exactly one of rfc2136, powerdns, route53")
            return nil
        }
        return if let rfc2136 {
            self.rfc2136(rfc2136, in: dns).map { .rfc2136($0) }
        } else if let powerdns {
            self.powerdns(powerdns, in: dns).map { .powerdns($0) }
        } else {
            route53.flatMap { self.route53($0, in: dns) }.map { .route53($0) }
        }
    }

    /// Servers that answer DNS over TCP.
    private func servers(_ node: YAMLNode?, _ name: String, in fields: FieldReader) -> [HostPort]? {
        fields.list(node, name)?.compactMap { node in
            fields.value(node, "a host or host:port") { HostPort($0, defaultPort: 53) }
        }
    }

    private func zone(_ fields: inout FieldReader) -> String? {
        fields.value(fields.required("zone"), "a zone in lower case") { NetworkText.isDomain($0) ? $0 : nil }
    }

    private func rfc2136(_ node: YAMLNode, in outer: FieldReader) -> TrafficSettings.RFC2136? {
        guard var fields = FieldReader(node, "rfc2136", outer.source, notes) else { return nil }
        let server = fields.value(fields.required("server"), "a host or host:port") { HostPort($0, defaultPort: 53) }
        let zone = zone(&fields)
        let key = fields.secret(fields.required("key"))
        let authorities = servers(fields.optional("authorities"), "authorities", in: fields)
        fields.finish()
        guard let server, let zone, let key else { return nil }
        return TrafficSettings.RFC2136(
            server: server, zone: zone, key: key, authorities: authorities.flatMap { $0.isEmpty ? nil : $0 } ?? [server]
        )
    }

    private func powerdns(_ node: YAMLNode, in outer: FieldReader) -> TrafficSettings.PowerDNS? {
        guard var fields = FieldReader(node, "powerdns", outer.source, notes) else { return nil }
        let url = fields.value(fields.required("url"), "https://host or https://host:port") {
            NetworkText.isOrigin($0) ? $0 : nil
        }
        let server = fields.value(fields.optional("server"), "a name of a-z, 0-9 and inner hyphens") {
            SiteName($0) == nil ? nil : $0
        }
        let zone = zone(&fields)
        let key = fields.secret(fields.required("key"))
        let ca = fields.path(fields.optional("ca"))
        let authoritiesNode = fields.required("authorities")
        let authorities = servers(authoritiesNode, "authorities", in: fields)
        if let authoritiesNode, authoritiesNode.sequence?.isEmpty == true {
            notes.add(
                fields.place(of: authoritiesNode), "authorities must name at least one server",
                advice: "name every server that resolvers may ask")
        }
        fields.finish()
        guard let url, let zone, let key, let authorities else { return nil }
        return TrafficSettings.PowerDNS(
            url: url, server: server ?? TrafficSettings.PowerDNS.defaultServer, zone: zone, key: key, ca: ca,
            authorities: authorities)
    }

    private func route53(_ node: YAMLNode, in outer: FieldReader) -> TrafficSettings.Route53? {
        guard var fields = FieldReader(node, "route53", outer.source, notes) else { return nil }
        let endpointNode = fields.optional("endpoint")
        let endpoint = fields.value(endpointNode, "https://host or https://host:port") {
            NetworkText.isOrigin($0) ? $0 : nil
        }
        let hosted = fields.value(fields.required("hosted-zone"), "a hosted zone's id: 1 to 32 of A-Z and 0-9") {
            text in
            let isPlain = text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) }
            return isPlain && (1...32).contains(text.utf8.count) ? text : nil
        }
        let zone = zone(&fields)
        let ca = fields.path(fields.optional("ca"))
        let (access, secret) = (fields.secret(fields.required("access")), fields.secret(fields.required("secret")))
        let token = fields.secret(fields.optional("token"))
        let authorities = servers(fields.required("authorities"), "authorities", in: fields)
        fields.finish()
        guard let hosted, let zone, let access, let secret, let authorities, endpoint != nil || endpointNode == nil
        else { return nil }
        return TrafficSettings.Route53(
            endpoint: endpoint ?? TrafficSettings.Route53.defaultEndpoint, hostedZone: hosted, zone: zone, ca: ca,
            access: access, secret: secret, token: token, authorities: authorities)
    }

    func notices(_ section: Section) -> NoticeSettings? {
        let (outer, node) = section
        guard var fields = FieldReader(node, "notices", outer.source, notes) else { return nil }
        let site: SiteName? = fields.reference(fields.required("site"), to: .site)
        if let smtp = fields.optional("smtp"), smtp.mapping == nil {
            notes.add(fields.place(of: smtp), "smtp must be a mapping, not \(smtp.kindInWords)")
        }
        _ = fields.list(fields.optional("webhook"), "webhook")
        fields.finish()
        return site.map { NoticeSettings(site: $0) }
    }
}
