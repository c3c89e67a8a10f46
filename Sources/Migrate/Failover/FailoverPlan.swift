package import DRPKit
package import Foundation

/// Who of a lost site goes where, in which order, from which backup, and when each will serve again.
package struct FailoverPlan: Sendable, Codable, Hashable {
    /// Where one client stands.
    package enum State: String, Sendable, Codable, Hashable {
        /// Its run is still to be begun.
        case waits
        /// Its run was begun and waits, or its process died: it is resumed.
        case begun
        /// It lives elsewhere since.
        case moved
        /// Nothing can be begun: `problem` says why.
        case impossible
    }

    package struct Row: Sendable, Codable, Hashable {
        package var client: ClientID
        package var priority: Int
        /// From 1: clients of one priority are one wave.
        package var wave: Int
        package var state: State
        package var target: SiteName?
        /// nil if the journal knows of none.
        package var point: RestorePoint?
        /// Seconds from the backup's instant to the declaration, and what was promised.
        package var rpo: Double?
        package var promisedRPO: Double?
        package var promisedRTO: Double?
        /// Seconds from now until it serves; nil (unknown) under three earlier runs.
        package var ends: Double?
        package var run: RunID?
        package var problem: String?
    }

    package var site: SiteName
    /// nil in a plan for a site that is not lost.
    package var declared: Date?
    package var parallel: Int
    /// In the order in which they are begun.
    package var rows: [Row]

    /// Seconds from now until the last one serves; nil if that of any is unknown.
    package var ends: Double? {
        let open = rows.filter { $0.state == .waits || $0.state == .begun }
        let known = open.compactMap(\.ends)
        return known.count == open.count ? known.max() : nil
    }
}

/// Makes the plan of a failover out of what is known: nothing is asked over the network.
package struct FailoverPlanner: Sendable {
    /// What the operator asked for.
    package struct Request: Sendable {
        package var site: SiteName
        /// For every client; nil: each goes where there is room.
        package var to: SiteName?
        package var only: Set<ClientID> = []
        package var exclude: Set<ClientID> = []
        /// How many clients are worked on at once.
        package var parallel: Int

        package init(
            site: SiteName, to: SiteName? = nil, only: Set<ClientID> = [], exclude: Set<ClientID> = [],
            parallel: Int = 2
        ) {
            self.site = site
            self.to = to
            self.only = only
            self.exclude = exclude
            self.parallel = parallel
        }
    }

    /// What the journal knows.
    package struct Knowledge: Sendable {
        package var places: [ClientID: SiteName] = [:]
        package var points: [ClientID: RestorePoint] = [:]
        /// Unfinished runs that were declared with this failover.
        package var open: [ClientID: RunID] = [:]
        /// Clients that runs of this failover have moved.
        package var moved: [ClientID: RunID] = [:]
        /// Seconds that a whole run takes; nil under three.
        package var seconds: Double?
        package var declaration: Declaration?

        package init() {}
    }

    private let fleet: Fleet
    private let known: Knowledge

    package init(fleet: Fleet, known: Knowledge) {
        self.fleet = fleet
        self.known = known
    }

    package func plan(_ request: Request, now: Date) -> FailoverPlan {
        let declared = known.declaration?.at
        var room = Room(fleet: fleet, places: known.places, lost: request.site)
        var rows: [FailoverPlan.Row] = []
        var waves: [Int: Int] = [:]
        for client in fleet.clientsByPriority {
            let place = known.places[client.id] ?? client.site
            let isMoved = known.moved[client.id] != nil && place != request.site
            guard place == request.site || isMoved else { continue }
            guard request.only.isEmpty || request.only.contains(client.id), !request.exclude.contains(client.id) else {
                continue
            }
            let wave = waves[client.priority] ?? waves.count + 1
            waves[client.priority] = wave
            let objectives = fleet.objectives(of: client)
            let point = known.points[client.id]
            var row = FailoverPlan.Row(
                client: client.id, priority: client.priority, wave: wave, state: .waits, target: nil, point: point,
                rpo: point.map { max(0, (declared ?? now).timeIntervalSince($0.instant)) },
                promisedRPO: objectives.rpo?.seconds, promisedRTO: objectives.rto?.seconds, ends: nil,
                run: known.open[client.id] ?? known.moved[client.id], problem: nil)
            if isMoved {
                (row.state, row.target) = (.moved, place)
            } else {
                row.state = known.open[client.id] == nil ? .waits : .begun
                switch room.place(client, at: request.to) {
                case .success(let site): row.target = site
                case .failure(let why): (row.state, row.problem) = (.impossible, why.text)
                }
                if point == nil, row.problem == nil {
                    // The stores may know of one: its run will say.
                    row.problem = "the journal knows of no backup"
                }
            }
            rows.append(row)
        }
        predict(&rows, parallel: request.parallel)
        return FailoverPlan(site: request.site, declared: declared, parallel: request.parallel, rows: rows)
    }

    /// Each client is begun as soon as one of the `parallel` before it has ended.
    private func predict(_ rows: inout [FailoverPlan.Row], parallel: Int) {
        guard let seconds = known.seconds else { return }
        var free = Array(repeating: 0.0, count: max(1, parallel))
        for index in rows.indices where rows[index].state == .waits || rows[index].state == .begun {
            guard let slot = free.indices.min(by: { free[$0] < free[$1] }) else { return }
            free[slot] += seconds
            rows[index].ends = free[slot]
        }
    }

    struct NoRoom: Error { var text: String }

    /// Memory that is left at each site.
    private struct Room {
        private let fleet: Fleet
        private let candidates: [Site]
        private var left: [SiteName: Int64] = [:]
        /// Addresses that no client has yet, where each has one to itself.
        private var addresses: [SiteName: Int] = [:]

        init(fleet: Fleet, places: [ClientID: SiteName], lost: SiteName) {
            self.fleet = fleet
            // Reserves first: they are there for this.
            let others = fleet.sites.filter { $0.name != lost && !$0.frontends.isEmpty }
            candidates = others.filter(\.isReserve) + others.filter { !$0.isReserve }
            for site in others {
                let memory = site.hosts.compactMap(\.memory?.bytes)
                // Nothing is known of the others: nothing limits them.
                if !memory.isEmpty { left[site.name] = memory.reduce(0, +) }
                if site.docker != nil { addresses[site.name] = site.frontends.count }
            }
            for client in fleet.clients {
                let place = places[client.id] ?? client.site
                if let memory = client.needs?.memory?.bytes { left[place]? -= memory }
                addresses[place]? -= 1
            }
        }

        mutating func place(_ client: Client, at wanted: SiteName?) -> Result<SiteName, NoRoom> {
            let need = client.needs?.memory?.bytes ?? 0
            let sites = wanted.map { name in candidates.filter { $0.name == name } } ?? candidates
            guard !sites.isEmpty else {
                return .failure(NoRoom(text: "there is no other site with a frontend"))
            }
            for site in sites where addresses[site.name] ?? 1 > 0 {
                if let free = left[site.name] {
                    guard free >= need else { continue }
                    left[site.name] = free - need
                }
                addresses[site.name]? -= 1
                return .success(site.name)
            }
            let names = sites.map(\.name.text).joined(separator: ", ")
            return .failure(
                NoRoom(text: "needs \(ByteCount(need)) of memory and a frontend's address, which \(names) has not left")
            )
        }
    }
}

extension Duration {
    fileprivate var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
