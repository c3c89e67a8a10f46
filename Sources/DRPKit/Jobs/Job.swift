package import Foundation

/// One piece of work for one client; anything that is given the value can carry it out.
package struct Job: Hashable, Sendable, Codable {
    package var client: ClientID
    /// As `backup`.
    package var kind: String
    /// The time of the schedule that this run is for, also when it is caught up later.
    package var due: Date
    /// When it is given up.
    package var deadline: Date

    package init(client: ClientID, kind: String, due: Date, deadline: Date) {
        self.client = client
        self.kind = kind
        self.due = due
        self.deadline = deadline
    }
}
