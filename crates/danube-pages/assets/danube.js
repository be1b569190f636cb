// Everything works without this; with it pages follow what happens.
import { follow } from "./live.js";
import { times } from "./times.js";

times();
follow();
