/// The rules that hold across the values of a fleet; each broken one is a problem at its place.
struct FleetValidator {
    let fleet: Fleet
    let notes: ReadingNotes

    func check() {
        for site in fleet.sites where !site.isLocal {
            guard site.folder != nil || site.address != nil || !site.programs.isEmpty else { continue }
            notes.add(
                notes.place(of: "site \(site.name)"), "only a local site has a folder, an address and programs",
                advice: "write 'provider: local'")
        }
        for site in fleet.sites where site.docker != nil { checkDocker(site) }
        for site in fleet.sites where site.frontends.contains(where: { $0.runtime != nil }) { checkFrontends(site) }
        for environment in fleet.environments {
            check(environment.objectives, at: notes.place(of: "environment \(environment.name)"))
        }
        for client in fleet.clients {
            if client.objectives != Objectives() {
                check(fleet.objectives(of: client), at: notes.place(of: "client \(client.id)"))
            }
            checkServices(client)
            checkHost(client)
            checkRecovery(client)
            checkDomains(client)
        }
    }

    /// Those that are led by HAProxy's runtime API.
    private func checkFrontends(_ site: Site) {
        func add(_ what: String, _ advice: String) {
            notes.add(notes.place(of: "site \(site.name)"), "the site '\(site.name)' \(what)", advice: advice)
        }
        if !site.frontends.allSatisfy({ $0.runtime != nil && NetworkText.isIPv4($0.address) }) {
            add("has frontends with a runtime and without, or without IPv4 addresses", "give each both")
        }
        if site.docker != nil {
            add("has docker, where each client has a frontend to itself, and shared ones", "leave out the runtimes")
        }
        if site.isLocal, site.address.map({ address in site.frontends.contains { $0.address == address } }) ?? true {
            add("has HAProxies before it, and its processes need an address of their own", "write 'address: 127.0.0.9'")
        }
    }

    private func checkDocker(_ site: Site) {
        let place = notes.place(of: "site \(site.name)")
        if site.isLocal {
            notes.add(
                place, "the site '\(site.name)' is local and has docker", advice: "leave out one of the two")
        }
        if site.frontends.isEmpty || !site.frontends.allSatisfy({ NetworkText.isIPv4($0.address) }) {
            notes.add(
                place,
                "the site '\(site.name)' has docker and needs frontends with IPv4 addresses, one for each client",
                advice: "write [{address: 10.0.0.5}]")
        }
        // Over several, nothing would say on which of them a client's containers are.
        if site.bastion != nil, site.hosts.count != 1 {
            notes.add(
                place, "the site '\(site.name)' has docker behind a bastion and \(site.hosts.count) hosts",
                advice: "give it the one host whose engine it is, and make a site of each other host")
        }
    }

    /// What its edge and its API need where a client runs as containers.
    private func checkContainers(_ client: Client) {
        let place = notes.place(of: "client \(client.id)")
        func need(_ what: String, _ advice: String) {
            notes.add(
                place, "the client '\(client.id)' lives at '\(client.site)', which has docker, and needs \(what)",
                advice: advice)
        }
        if case .image = client.services.api?.launch {} else { need("an api with an image", "write api: {image: …}") }
        if client.domains.isEmpty { need("domains", "write domains: […]") }
        if client.certificate == nil { need("a certificate", "write certificate: {chain: …, key: {file: …}}") }
    }

    /// An RTO that alone breaks the month's availability.
    private func check(_ objectives: Objectives, at place: Place) {
        if let rto = objectives.rto, let allowed = objectives.monthlyDowntime, rto > allowed {
            notes.add(
                place,
                "an rto of \(DurationText.format(rto)) alone breaks \(objectives.availability ?? 0) % of a month, "
                    + "which allows \(DurationText.format(allowed))",
                severity: .warning)
        }
    }

    private func checkServices(_ client: Client) {
        let place = notes.place(of: "client \(client.id)")
        if client.services.mongo == nil, client.services.redis == nil {
            notes.add(
                place, "the client '\(client.id)' has neither mongo nor redis: there is nothing to back up",
                severity: .warning)
        }
        if fleet.site(client.site)?.docker != nil { return checkContainers(client) }
        guard let site = fleet.site(client.site), case .command = client.services.api?.launch, !site.isLocal else {
            return
        }
        notes.add(
            place, "the api of '\(client.id)' is a command, but its site '\(site.name)' is not local",
            advice: "write 'image', or 'provider: local' at the site")
    }

    private func checkHost(_ client: Client) {
        guard let site = fleet.site(client.site), let host = client.host,
            !site.hosts.contains(where: { $0.name == host })
        else { return }
        notes.add(
            notes.place(of: "client \(client.id)"), "the site '\(site.name)' of '\(client.id)' has no host '\(host)'",
            advice: site.hosts.isEmpty ? "" : "its hosts are \(site.hosts.map(\.name).joined(separator: ", "))")
    }

    /// Everything that a recovery depends on must survive the loss of the client's site.
    private func checkRecovery(_ client: Client) {
        guard fleet.environment(client.environment)?.isProduction == true else { return }
        let place = notes.place(of: "client \(client.id)")
        let stores = fleet.stores(of: client)
        if !stores.isEmpty, stores.allSatisfy({ $0.site == client.site }) {
            notes.add(
                place, "all backups of '\(client.id)' lie at its own site '\(client.site)' and are lost with it",
                advice: "add a store of another site to its policy")
        }
        if let traffic = fleet.traffic, traffic.site == client.site, !client.domains.isEmpty {
            notes.add(
                place, "the DNS that '\(client.id)' is switched by stands at its own site '\(client.site)'",
                advice: "use a server at another site")
        }
        if fleet.site == client.site {
            notes.add(
                place, "drp itself runs at the site of '\(client.id)' and is lost with it",
                advice: "run drp at another site", severity: .warning)
        }
        if let notices = fleet.notices, notices.site == client.site {
            notes.add(
                place, "notices are sent from the site of '\(client.id)' and are lost with it",
                advice: "send them from another site", severity: .warning)
        }
    }

    private func checkDomains(_ client: Client) {
        guard let zone = fleet.traffic?.dns.zone else { return }
        for domain in client.domains where domain != zone && !domain.hasSuffix("." + zone) {
            notes.add(notes.place(of: "domain \(domain)"), "the domain '\(domain)' is not in the zone '\(zone)'")
        }
    }
}
