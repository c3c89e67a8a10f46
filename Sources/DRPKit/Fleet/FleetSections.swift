/// Turns the nodes of all files of a fleet into values, section by section.
struct FleetSections {
    let parts: [(source: SourceFile, root: YAMLNode)]
    let notes: ReadingNotes

    /// One place where a section of the file begins.
    typealias Section = (fields: FieldReader, node: YAMLNode)

    static let defaultPriority = 100

    /// - Parameter path: for problems of no line.
    /// - Returns: nil only without a file that can be read; with errors noted, parts may be missing in it.
    func read(whole path: String) -> Fleet? {
        var found: [String: [Section]] = [:]
        let keys = [
            "fleet", "state", "site", "recovery", "sites", "stores", "policies", "environments", "clients", "traffic",
            "notices",
        ]
        for (source, root) in parts {
            guard var fields = FieldReader(root, "a fleet file", source, notes) else { continue }
            for key in keys {
                if let node = fields.optional(key) { found[key, default: []].append((fields, node)) }
            }
            fields.finish()
        }
        guard !parts.isEmpty else { return nil }
        func single(_ key: String) -> Section? {
            let sections = found[key] ?? []
            for extra in sections.dropFirst() {
                let first = sections[0].fields.place(of: sections[0].node)
                notes.add(
                    extra.fields.place(of: extra.node), "'\(key)' stands in two files",
                    advice: "the other is at \(first.file):\(first.line)")
            }
            return sections.first
        }
        func required(_ key: String) -> Section? {
            if let section = single(key) { return section }
            notes.add(Place(file: path, line: 0, column: 0), "the fleet needs '\(key)'")
            return nil
        }
        if found["sites"] == nil { notes.add(Place(file: path, line: 0, column: 0), "the fleet needs 'sites'") }

        let name = required("fleet").flatMap { $0.fields.text($0.node, "the fleet's name") }
        let state = required("state").flatMap { $0.fields.path($0.node, FleetReference.Target.folder) }
        let site: SiteName? = required("site").flatMap { $0.fields.reference($0.node, to: .site) }
        if let section = single("site") { notes.mark("site", at: section.fields.place(of: section.node)) }
        return Fleet(
            name: name ?? "", state: state ?? "", site: site ?? SiteName(unchecked: ""),
            recovery: required("recovery").map(recovery) ?? [],
            sites: named(found["sites"], .site, self.site),
            stores: named(found["stores"], .store, store),
            policies: named(found["policies"], .policy, policy),
            environments: named(found["environments"], .environment, environment),
            clients: (found["clients"] ?? []).flatMap(clients),
            traffic: single("traffic").flatMap(traffic),
            notices: single("notices").flatMap(notices))
    }

    /// Reads the sections `{name: {…}}` of all files as one.
    private func named<Name: FleetName, Value>(
        _ sections: [Section]?, _ kind: ReadingNotes.Kind, _ read: (Name, inout FieldReader) -> Value?
    ) -> [Value] {
        (sections ?? []).flatMap { section -> [Value] in
            let (fields, node) = section
            guard let entries = node.mapping else {
                notes.add(fields.place(of: node), "this must be a mapping of names, not \(node.kindInWords)")
                return []
            }
            return entries.compactMap { entry -> Value? in
                let place = Place(file: fields.source.name, line: entry.line, column: entry.column)
                guard let name = Name(entry.key) else {
                    notes.add(
                        place, "'\(Printable.short(entry.key))' is not a name: 1 to 63 of a-z, 0-9 and inner hyphens")
                    return nil
                }
                guard notes.declare(kind, name.text, at: place),
                    var inner = FieldReader(entry.value, "the \(kind.rawValue) '\(name)'", fields.source, notes)
                else { return nil }
                defer { inner.finish() }
                return read(name, &inner)
            }
        }
    }

    private func recovery(_ section: Section) -> [String] {
        let (fields, node) = section
        guard let list = fields.list(node, "recovery") else { return [] }
        if list.count < 2 {
            notes.add(
                fields.place(of: node), "recovery needs two recipients at least",
                advice: "make another with `drp keys init --identity FILE` and keep it elsewhere")
        }
        var seen: Set<String> = []
        return list.compactMap { item in
            let recipient = fields.value(item, "a recipient (drp1…)") { RecipientText.isRecipient($0) ? $0 : nil }
            if let recipient, !seen.insert(recipient).inserted {
                notes.add(fields.place(of: item), "this recipient stands twice")
            }
            return recipient
        }
    }

    private func site(_ name: SiteName, _ fields: inout FieldReader) -> Site? {
        let provider = fields.text(fields.optional("provider"))
        let folderNode = fields.optional("folder")
        let folder = fields.path(folderNode, FleetReference.Target.folder)
        let address = fields.value(fields.optional("address"), "an IPv4 address") {
            NetworkText.isIPv4($0) ? $0 : nil
        }
        var programs: [String: String] = [:]
        if let node = fields.optional("programs"), var inner = FieldReader(node, "programs", fields.source, notes) {
            for program in ["mongod", "redis-server"] {
                programs[program] = inner.path(inner.optional(program), FleetReference.Target.program)
            }
            inner.finish()
        }
        let bastion = fields.optional("bastion").flatMap { self.bastion($0, in: fields) }
        let hosts = fields.list(fields.optional("hosts"), "hosts") ?? []
        let frontends = fields.list(fields.optional("frontends"), "frontends") ?? []
        let isReserve = fields.boolean(fields.optional("reserve")) ?? false
        let docker = fields.optional("docker").flatMap { self.docker($0, in: fields) }
        if provider == Site.localProvider {
            // Any client could be deployed here. What stands but is wrong was said already.
            let place = notes.place(of: "site \(name)")
            if folderNode == nil { notes.add(place, "the local site '\(name)' needs 'folder'") }
            if frontends.isEmpty {
                notes.add(place, "the local site '\(name)' needs 'frontends'", advice: "write [{address: 127.0.0.12}]")
            }
        }
        return Site(
            name: name, provider: provider, isReserve: isReserve, bastion: bastion,
            hosts: self.hosts(hosts, in: fields),
            frontends: frontends.compactMap { frontend($0, in: fields) }, folder: folder, address: address,
            programs: programs,
            docker: docker)
    }

    private func docker(_ node: YAMLNode, in outer: FieldReader) -> Site.Docker? {
        guard var fields = FieldReader(node, "docker", outer.source, notes) else { return nil }
        // Not a path of ours: it may lie on another machine, and is nothing to keep a copy of.
        let socket = fields.value(fields.optional("socket"), "an absolute path of at most 107 bytes") {
            $0.hasPrefix("/") && $0.utf8.count <= 107 ? $0 : nil
        }
        let subnets = fields.value(fields.optional("subnets"), "a block of addresses, as 10.213.0.0/16, /8 to /24") {
            NetworkText.isBlock($0) ? $0 : nil
        }
        let imagesNode = fields.required("images")
        fields.finish()
        guard let imagesNode, var images = FieldReader(imagesNode, "images", outer.source, notes) else { return nil }
        let mongo = image(images.required("mongo"), in: images)
        let redis = image(images.required("redis"), in: images)
        let edge = image(images.required("edge"), in: images)
        images.finish()
        guard let mongo, let redis, let edge else { return nil }
        return Site.Docker(
            socket: socket ?? "/run/docker.sock", mongo: mongo, redis: redis, edge: edge, subnets: subnets)
    }

    /// The name of an image; one that is not named by digest is a warning.
    func image(_ node: YAMLNode?, in fields: FieldReader) -> String? {
        let name = fields.value(node, "the name of an image") { isImage($0) ? $0 : nil }
        if let name, let node, !name.contains("sha256:") {
            notes.add(
                fields.place(of: node), "this image is not named by digest and can change under its name",
                advice: "write it as name@sha256:…", severity: .warning)
        }
        return name
    }

    private func isImage(_ text: String) -> Bool {
        text.utf8.count <= 512 && text.utf8.first != 0x2d
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                    || Array("./:@_-".utf8).contains($0)
            }
    }

    private func frontend(_ node: YAMLNode, in outer: FieldReader) -> Site.Frontend? {
        guard var fields = FieldReader(node, "a frontend", outer.source, notes) else { return nil }
        defer { fields.finish() }
        let address = fields.value(fields.required("address"), "an address") { NetworkText.isHost($0) ? $0 : nil }
        let runtime = fields.value(fields.optional("runtime"), "host:port") { HostPort($0) }
        return address.map { Site.Frontend(address: $0, runtime: runtime) }
    }

    private func store(_ name: StoreName, _ fields: inout FieldReader) -> StoreSettings? {
        let site: SiteName? = fields.reference(fields.required("site"), to: .site)
        guard let kind = storeKind(name, &fields), let site else { return nil }
        return StoreSettings(name: name, site: site, kind: kind)
    }

    /// How to reach a store; also read alone, from the file of `bootstrap --store`.
    func storeKind(_ name: StoreName, _ fields: inout FieldReader) -> StoreSettings.Kind? {
        let folder = fields.optional("folder")
        let (s3, azure) = (fields.optional("s3"), fields.optional("azure"))
        guard [folder, s3, azure].count(where: { $0 != nil }) == 1 else {
            notes.add(fields.place, "the store '\(name)' needs exactly one of folder, s3, azure")
            return nil
        }
        return if folder != nil {
            fields.path(folder, FleetReference.Target.folder).map { .folder(path: $0) }
        } else if let s3 {
            self.s3(s3, in: fields).map { .s3($0) }
        } else {
            azure.flatMap { self.azure($0, in: fields) }.map { .azure($0) }
        }
    }

    private func s3(_ node: YAMLNode, in outer: FieldReader) -> StoreSettings.S3? {
        guard var fields = FieldReader(node, "s3", outer.source, notes) else { return nil }
        let preset = fields.choice(fields.optional("provider"), StoreSettings.S3Preset.self)
        let region = fields.value(fields.required("region"), "a region, as fr-par") { S3Text.isRegion($0) ? $0 : nil }
        let bucket = fields.value(fields.required("bucket"), "a bucket: 3 to 63 of a-z, 0-9, inner dots and hyphens") {
            S3Text.isBucket($0) ? $0 : nil
        }
        let known = region.flatMap { preset?.endpoint(region: $0) }
        let node = known == nil ? fields.required("endpoint") : fields.optional("endpoint")
        let given = fields.value(node, "https://host or https://host:port") { NetworkText.isOrigin($0) ? $0 : nil }
        let addressing = fields.choice(fields.optional("addressing"), StoreSettings.Addressing.self)
        let ca = fields.path(fields.optional("ca"))
        let (access, secret) = (fields.secret(fields.required("access")), fields.secret(fields.required("secret")))
        let token = fields.secret(fields.optional("token"))
        fields.finish()
        guard let endpoint = given ?? (node == nil ? known : nil), let bucket, let region, let access, let secret
        else { return nil }
        return StoreSettings.S3(
            endpoint: endpoint, bucket: bucket, region: region,
            addressing: addressing ?? preset?.addressing ?? .path, ca: ca, access: access, secret: secret, token: token)
    }

    private func azure(_ node: YAMLNode, in outer: FieldReader) -> StoreSettings.Azure? {
        guard var fields = FieldReader(node, "azure", outer.source, notes) else { return nil }
        let account = fields.value(fields.required("account"), "an account: 3 to 24 of a-z and 0-9") {
            AzureText.isAccount($0) ? $0 : nil
        }
        let container = fields.value(
            fields.required("container"), "a container: 3 to 63 of a-z, 0-9 and single inner hyphens"
        ) { AzureText.isContainer($0) ? $0 : nil }
        let endpointNode = fields.optional("endpoint")
        let endpoint = fields.value(
            endpointNode, "https://host or https://host:port, either with the account as its path"
        ) { AzureText.isEndpoint($0, of: account ?? "") ? $0 : nil }
        let ca = fields.path(fields.optional("ca"))
        let (keyNode, sasNode) = (fields.optional("key"), fields.optional("sas"))
        if (keyNode == nil) == (sasNode == nil) { notes.add(fields.place, "azure needs exactly one of key, sas") }
        let access: StoreSettings.AzureAccess? =
            keyNode != nil ? fields.secret(keyNode).map { .key($0) } : fields.secret(sasNode).map { .sas($0) }
        fields.finish()
        guard let account, let container, let access, endpoint != nil || endpointNode == nil else { return nil }
        return StoreSettings.Azure(
            account: account, container: container,
            endpoint: endpoint ?? "https://\(account).blob.core.windows.net", ca: ca, access: access)
    }

    private func policy(_ name: PolicyName, _ fields: inout FieldReader) -> Policy? {
        var schedule: Schedule?
        let node = fields.required("schedule")
        if let node, let text = fields.text(node, "a schedule") {
            do { schedule = try Schedule(text) } catch { notes.add(fields.place(of: node), Printable.line("\(error)")) }
        }
        let log = fields.duration(fields.optional("log"))
        var keep: Policy.Keep?
        if let node = fields.optional("keep"), var inner = FieldReader(node, "keep", fields.source, notes) {
            func number(_ key: String) -> Int? { inner.integer(inner.optional(key), 1...100_000) }
            keep = Policy.Keep(
                last: number("last"), hourly: number("hourly"), daily: number("daily"), weekly: number("weekly"),
                monthly: number("monthly"), yearly: number("yearly"))
            inner.finish()
        }
        let storesNode = fields.required("stores")
        let stores: [StoreName]? = fields.list(storesNode, "stores")?.compactMap { fields.reference($0, to: .store) }
        if let storesNode, let stores, Set(stores).count != stores.count || storesNode.sequence?.isEmpty == true {
            notes.add(fields.place(of: storesNode), "stores must name at least one store, and each once")
        }
        let lock = fields.optional("lock").flatMap { self.lock($0, in: fields) }
        let drill = fields.choice(fields.optional("drill"), Policy.Drill.self)
        guard let schedule, let stores else { return nil }
        return Policy(
            name: name, schedule: schedule, log: log, keep: keep, stores: stores, lock: lock, drill: drill)
    }

    /// `30d`, or `{for: 30d, mode: governance}`.
    private func lock(_ node: YAMLNode, in outer: FieldReader) -> Policy.Lock? {
        guard node.mapping != nil else {
            return outer.duration(node).map { Policy.Lock(lasts: $0, mode: .compliance) }
        }
        guard var fields = FieldReader(node, "a lock", outer.source, notes) else { return nil }
        defer { fields.finish() }
        let lasts = fields.duration(fields.required("for"))
        let mode = fields.choice(fields.optional("mode"), LockMode.self) ?? .compliance
        return lasts.map { Policy.Lock(lasts: $0, mode: mode) }
    }

    private func environment(_ name: EnvironmentName, _ fields: inout FieldReader) -> ClientEnvironment? {
        let policy: PolicyName? = fields.reference(fields.required("policy"), to: .policy)
        let objectives = fields.optional("objectives").flatMap { self.objectives($0, in: fields) } ?? Objectives()
        return policy.map { ClientEnvironment(name: name, policy: $0, objectives: objectives) }
    }

    func objectives(_ node: YAMLNode, in outer: FieldReader) -> Objectives? {
        guard var fields = FieldReader(node, "objectives", outer.source, notes) else { return nil }
        defer { fields.finish() }
        let (rpo, rto) = (fields.duration(fields.optional("rpo")), fields.duration(fields.optional("rto")))
        let availability = fields.value(fields.optional("availability"), "percent above 0 and below 100, as 99.9") {
            Double($0).flatMap { $0 > 0 && $0 < 100 ? $0 : nil }
        }
        return Objectives(rpo: rpo, rto: rto, availability: availability)
    }
}

/// The shapes of an S3 store's names: they go into addresses and signatures as they are.
private enum S3Text {
    /// docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    static func isBucket(_ text: String) -> Bool {
        (3...63).contains(text.utf8.count) && NetworkText.isDomain(text)
    }

    static func isRegion(_ text: String) -> Bool { SiteName(text) != nil }
}

/// The shapes of an Azure store's names.
/// learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
private enum AzureText {
    static func isAccount(_ text: String) -> Bool {
        (3...24).contains(text.utf8.count) && SiteName(text) != nil && !text.contains("-")
    }

    static func isContainer(_ text: String) -> Bool {
        (3...63).contains(text.utf8.count) && SiteName(text) != nil && !text.contains("--")
    }

    static func isEndpoint(_ text: String, of account: String) -> Bool {
        NetworkText.isOrigin(text.hasSuffix("/\(account)") ? String(text.dropLast(account.count + 1)) : text)
    }
}

extension Printable {
    /// A message that quotes a file, without control characters.
    static func line(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.prefix(300).map { isPlain($0) ? $0 : "?" }))
    }
}
