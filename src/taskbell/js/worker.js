/** The entry of the worker's bundle. It handles no requests, and its scope holds no page: so no other worker minds. */

import { handle } from "./arrivals.js";

handle(self);
